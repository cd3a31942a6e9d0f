"""Help texts of the client commands, from their table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from sidecar.cli import table
from sidecar.cli.exits import EXIT_CODES

_WIDTH = 100


def overview() -> str:
    """:returns: what ``micro --help`` prints."""
    lines = [
        "Usage: micro [flags] COMMAND",
        "",
        "Runs a sidecar, or talks to one.",
        "",
        "Commands:",
        *_columns([("sidecar", "run the sidecar; its flags: micro sidecar --help")]),
        *_columns([(f"{one.words} {one.arguments}".strip(), one.summary) for one in table.COMMANDS]),
        "",
        "Flags of every command (micro COMMAND --help shows its own):",
        *_columns([(spelled(option), described(option)) for option in table.COMMON]),
        "",
        "Exit codes:",
        *_columns([(str(code), meaning) for code, meaning in EXIT_CODES]),
    ]
    return "\n".join(lines)


def of(command: table.Command) -> str:
    """:returns: what ``micro COMMAND --help`` prints."""
    lines = [f"Usage: micro {command.words} [flags] {command.arguments}".rstrip(), "", _sentence(command.summary)]
    if command.details:
        lines += ["", *textwrap.wrap(command.details, _WIDTH)]
    if command.options:
        lines += ["", "Flags:", *_columns([(spelled(option), described(option)) for option in command.options])]
    if not command.local:
        lines += ["", "Flags of every command:"]
        lines += _columns([(spelled(option), described(option)) for option in table.COMMON])
    if command.examples:
        lines += ["", "Examples:", *(f"  {example}" for example in command.examples)]
    if command.aliases:
        lines += ["", f"Also called: {', '.join(command.aliases)}"]
    return "\n".join(lines)


def spelled(option: table.Option) -> str:
    """:returns: a flag as a user writes it: ``-f, --follow``, ``--count=N``."""
    value = f"={option.metavar}" if option.metavar else ""
    name = f"--{option.name}" + (f"[{value}]" if option.optional else value)
    return f"-{option.short}, {name}" if option.short else name


def described(option: table.Option) -> str:
    """:returns: what it is for, its values, default and environment variable."""
    told = option.help
    if option.choices:
        told += f": {', '.join(option.choices)}"
    if option.default not in ("", "0"):
        told += f" (default {option.default})"
    return told + (f" [{option.env}]" if option.env else "")


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = []
    for name, text in rows:
        body = textwrap.wrap(text, _WIDTH - 33, break_long_words=False) or [""]
        head = f"  {name}"
        lines += [head.ljust(33) + body.pop(0)] if len(head) < 33 else [head]
        lines += [" " * 33 + line for line in body]
    return lines


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
