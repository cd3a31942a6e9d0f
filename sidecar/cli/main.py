"""The console scripts: ``micro sidecar ...`` runs the daemon, the other words of ``micro`` talk to one."""

from __future__ import annotations

import os
import sys


def micro() -> None:
    """The ``micro`` command."""
    from sidecar.cli import arguments, run

    given = command_line()
    try:
        daemon = arguments.is_for_the_daemon(given)
    except arguments.Wrong as wrong:
        sys.stderr.write(f"micro: {ascii_escaped(str(wrong))}\n")
        sys.exit(2)
    if daemon:
        _serve(given, "micro sidecar")
    sys.exit(run.main(given))


def microsidecar() -> None:
    """The ``microsidecar`` command: the daemon in one word, and every client command as ``micro`` has it."""
    from sidecar.cli import arguments, run

    given = command_line()
    if arguments.is_for_a_client(given):
        sys.exit(run.main(given))
    _serve(given, "microsidecar")


def command_line() -> list[str]:
    """:returns: the words after the program's name, read as UTF-8 whatever the locale; what is none has surrogates."""
    return [os.fsencode(word).decode("utf-8", "surrogateescape") for word in sys.argv[1:]]


def ascii_escaped(text: str) -> str:
    """:returns: the text with what standard error cannot show in escapes."""
    encoding = sys.stderr.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _serve(given: list[str], program: str) -> None:
    # Imported here: a client command should not wait for Twisted.
    from sidecar.cli.serve import serve

    sys.exit(serve(given, program))
