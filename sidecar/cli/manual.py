"""The manual pages, from the tables of commands and flags: ``python -m sidecar.cli.manual DIRECTORY`` writes them.

``micro.1`` tells of the client commands, ``microsidecar.8`` of the daemon.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from sidecar import __version__
from sidecar.cli import help, table
from sidecar.cli.exits import EXIT_CODES


def micro() -> str:
    """:returns: the source of micro(1)."""
    parts = [
        f'.TH MICRO 1 "" "microsidecar {__version__}" "User commands"',
        ".SH NAME\nmicro \\- talk to a microsidecar, or run one",
        ".SH SYNOPSIS\n.B micro\n[flags] COMMAND [arguments]\n.br\n.B micro sidecar\n[flags]",
        ".SH DESCRIPTION\nAsks a sidecar over HTTP and prints what it answers. The daemon itself is microsidecar(8).",
        ".SH COMMANDS",
    ]
    for command in table.COMMANDS:
        parts.append(f".TP\n.B {_text(command.words)} {_text(command.arguments)}\n{_text(_sentence(command.summary))}")
        if command.details:
            parts.append(_text(command.details))
        if command.options:
            parts.append(_indented(command.options))
        parts += [f".br\nExample: {_text(example)}" for example in command.examples]
    parts += [".SH FLAGS\nEvery command takes these.", *_listed(table.COMMON)]
    parts += [".SH EXIT STATUS", *(f".TP\n.B {code}\n{_text(_sentence(told))}" for code, told in EXIT_CODES)]
    parts.append(".SH ENVIRONMENT\n.B NO_COLOR\nkeeps colours from the output.")
    parts.append(".SH SEE ALSO\nmicrosidecar(8)")
    return "\n".join(parts) + "\n"


def microsidecar() -> str:
    """:returns: the source of microsidecar(8)."""
    # Imported here: the client commands never need the daemon's flags.
    from sidecar.daemon.cmdline.flags import GROUPS

    parts = [
        f'.TH MICROSIDECAR 8 "" "microsidecar {__version__}" "System administration"',
        ".SH NAME\nmicrosidecar \\- joins any application to the Micro (go-micro) ecosystem over HTTP and WebSockets",
        ".SH SYNOPSIS\n.B microsidecar\n[flags]\n.br\n.B twistd \\-n microsidecar\n[flags]",
        ".SH DESCRIPTION\nRegisters and discovers services, calls them, publishes and subscribes on behalf of the "
        "application beside it. Flags may be spelled with - or _; each can be set by the environment variable in "
        "brackets, and a flag beats the environment.",
    ]
    for title, flags in GROUPS:
        parts.append(f".SH {_text(title.upper())}")
        for flag in flags:
            spelled = f"--{flag.name}" + ("" if flag.switch else f"={flag.metavar}")
            default = "" if flag.switch or not flag.default else f" (default {flag.default})"
            told = f"{flag.help}{default} [{', '.join(flag.variables)}]"
            parts.append(f".TP\n.B {_text(spelled)}\n{_text(told)}")
    parts += [
        ".SH SIGNALS",
        ".TP\n.B SIGTERM, SIGINT\nLeave the registry, finish calls in flight, exit 0; the second one exits at once.",
        ".TP\n.B SIGHUP\nRead files again without dropping a connection.",
        ".SH FILES\n.TP\n.I /etc/microsidecar/environment\nFlags of the service, one a line, as MICRO_* variables.",
        ".SH SEE ALSO\nmicro(1), systemctl(1)",
    ]
    return "\n".join(parts) + "\n"


def _listed(options: Iterable[table.Option]) -> Iterable[str]:
    return (f".TP\n.B {_text(help.spelled(one))}\n{_text(help.described(one))}" for one in options)


def _indented(options: Iterable[table.Option]) -> str:
    return "\n".join([".RS", *_listed(options), ".RE"])


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _text(text: str) -> str:
    """:returns: text as roff reads it: minus signs that can be copied, no line that looks like a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def write(directory: Path) -> None:
    """Write both pages into ``directory``."""
    for name, page in (("micro.1", micro()), ("microsidecar.8", microsidecar())):
        (directory / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
