"""The console scripts: ``micro sidecar ...`` runs the daemon, the other words of ``micro`` talk to one."""

from __future__ import annotations

import sys


def micro() -> None:
    """The ``micro`` command."""
    from sidecar.cli import arguments, commands

    given = sys.argv[1:]
    try:
        daemon = arguments.is_for_the_daemon(given)
    except arguments.Wrong as wrong:
        sys.stderr.write(f"micro: {wrong}\n")
        sys.exit(2)
    if daemon:
        _serve(given, "micro sidecar")
    sys.exit(commands.main(given))


def microsidecar() -> None:
    """The ``microsidecar`` command: ``micro sidecar`` in one word."""
    _serve(sys.argv[1:], "microsidecar")


def _serve(given: list[str], program: str) -> None:
    # Imported here: a client command should not wait for Twisted.
    from sidecar.cli.serve import serve

    sys.exit(serve(given, program))
