"""The console scripts: ``micro sidecar ...`` runs the daemon, the other words of ``micro`` talk to one."""

from __future__ import annotations

import sys


def micro() -> None:
    """The ``micro`` command."""
    from sidecar.cli import arguments, commands

    given = sys.argv[1:]
    if arguments.is_for_the_daemon(given):
        if arguments.DAEMON not in given:
            sys.stderr.write(f"micro: {given[0]} is for the sidecar; to run one: micro {given[0]} sidecar\n")
            sys.exit(2)
        _serve(given, "micro sidecar")
    sys.exit(commands.main(given))


def microsidecar() -> None:
    """The ``microsidecar`` command: ``micro sidecar`` in one word."""
    _serve(sys.argv[1:], "microsidecar")


def _serve(given: list[str], program: str) -> None:
    # Imported here: a client command should not wait for Twisted.
    from sidecar.cli.serve import serve

    sys.exit(serve(given, program))
