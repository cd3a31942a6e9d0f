"""``micro dev``: an app and a sidecar beside it, in one terminal."""

from __future__ import annotations

import os
import re
import shutil

from twisted.python import usage

from sidecar.cli.arguments import Wrong
from sidecar.cli.dev import daemon, proc
from sidecar.cli.dev.runner import DevSettings
from sidecar.cli.invocation import Invocation, not_found
from sidecar.daemon.cmdline.options import TextAsked


def dev(invocation: Invocation) -> int:
    """:returns: 0 when it was ended in order. :raises Wrong, Failed: it cannot begin."""
    given = invocation.arguments
    command = given.program
    if not command:
        raise Wrong("which app? write its command line after --: micro dev -- python app.py")
    for word in command:
        invocation.check_text(word)
    if shutil.which(command[0]) is None:
        not_found(f"{command[0]} cannot be started: there is no such program")
    if not proc.available():
        raise Wrong("micro dev needs Linux's /proc; elsewhere start the app and micro sidecar by themselves")
    watched = given.every("watch")
    if invocation.words:
        # --watch src -- ...: a path after a space.
        if watched != ["."]:
            raise Wrong(f"{invocation.words[0]!a} stands before the --, where flags are; the program comes after it")
        watched = invocation.words
    port = given.number("app_port")
    if port > 65535:
        raise Wrong(f"--app_port={port}: there are ports from 1 to 65535")
    passed = list(given.passed)
    if given.given("protocol"):
        passed.append(f"--server_protocol={given.text('protocol')}")
    if given.given("name"):
        passed.append(f"--server_name={given.text('name')}")
    options = daemon.DevOptions(_folder(), dict(given.environ))
    try:
        options.parseOptions(passed)
    except usage.UsageError as error:
        raise Wrong(str(error)) from None
    except TextAsked as asked:
        raise Wrong(asked.text) from None
    if options.said is not None:
        port = port or options.said[1]
    settings = DevSettings(command, options.service, port, watched, {})
    return daemon.run(settings, options)


def _folder() -> str:
    """:returns: the name of the directory we are in, as a service may be called."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(os.getcwd())).strip("-._") or "app"
