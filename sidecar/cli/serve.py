"""Runs the daemon in the foreground for ``micro sidecar`` and ``microsidecar``: no pid file, the log on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.application import reactors
from twisted.logger import globalLogBeginner

from sidecar.daemon import tap
from sidecar.daemon.cmdline.options import Options
from sidecar.daemon.logs.formats import choose
from sidecar.daemon.logs.observer import standard_error
from sidecar.net.reactor.epoll import ensure


def serve(arguments: Sequence[str], program: str) -> int:
    """:param arguments: flags, with or without the word ``sidecar``. :returns: the exit code."""
    options = Options(program=program)
    tap.parse(options, arguments)
    if options["reactor"]:
        try:
            reactors.installReactor(options["reactor"])
        except reactors.NoSuchReactor:
            known = ", ".join(sorted(kind.shortName for kind in reactors.getReactorTypes()))
            tap.exit_with(
                tap.WRONG_USAGE, f"--reactor={options['reactor']}: there is no such reactor; there are {known}"
            )
    else:
        ensure()

    from twisted.internet import reactor as installed

    reactor: Any = installed  # a module to mypy
    service = tap.make(options, reactor)
    # Only now: a start that fails says one line, and nothing of what was tried on the way.
    log = options.settings.log
    observer = standard_error(choose(log.format, sys.stderr, os.environ), log.levels, reactor.seconds)
    service.observer = observer
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    return 0
