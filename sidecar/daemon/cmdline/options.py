"""The command line and the environment of the daemon, for ``twistd microsidecar`` and ``micro sidecar`` alike."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twisted.python import usage

from sidecar import __version__
from sidecar.daemon.cmdline import sources
from sidecar.daemon.cmdline.build import settings
from sidecar.daemon.cmdline.flags import FLAGS, GROUPS, Flag
from sidecar.daemon.cmdline.given import Source
from sidecar.daemon.cmdline.settings import Settings
from sidecar.daemon.cmdline.sources import DEFAULT, FLAG, GivenValue, HelpAsked, UserWords


class TextAsked(Exception):
    """There is nothing to run: what was asked for is this text. :ivar text: for standard output."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Options(usage.Options):
    """Parses flags spelled with ``_`` or ``-``, with ``=`` or a space, before or after the word ``sidecar``.

    A flag beats its environment variable, which beats the default; an empty variable counts as not set.
    After ``parseOptions`` each flag's value is an item of this mapping and ``settings`` holds all of them, checked.
    """

    longdesc = "Joins any application to the Micro ecosystem over HTTP and WebSockets."
    settings: Settings
    #: The flags that were given on the command line.
    flagged: frozenset[str] = frozenset()
    #: What is odd and stops nothing, a sentence each.
    warnings: tuple[str, ...] = ()
    #: Puts messages into the words of the user.
    words = UserWords({})

    def __init__(self, environ: Mapping[str, str] | None = None, program: str = "microsidecar") -> None:
        super().__init__()
        self._environ: Mapping[str, str] = os.environ if environ is None else environ
        self._program = program

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """:raises usage.UsageError: one sentence that names the flag, or what it came from, and its value.
        :raises TextAsked: ``--help`` or ``--version`` was asked for."""
        try:
            flags = sources.from_arguments(list(options or ()), self._program)
        except HelpAsked as asked:
            raise TextAsked(str(self) if asked.name == "help" else f"microsidecar {__version__}") from None
        environment, self.warnings = sources.from_environment(self._environ)
        given = {**environment, **flags}
        self.words = UserWords(given)
        for flag in FLAGS:
            self[flag.name] = self._value(flag, given.get(flag.name))
        self.flagged = frozenset(name for name, value in given.items() if value.precedence == FLAG)
        precedences = {name: value.precedence for name, value in given.items()}
        try:
            self.settings = settings(Source(dict(self), precedences, self._environ))
        except usage.UsageError as error:
            raise usage.UsageError(self.words.of(str(error))) from None

    def _value(self, flag: Flag, given: GivenValue | None) -> Any:
        if given is None or (not given.text and not flag.switch):
            given = GivenValue("default", flag.default, DEFAULT)
            if not flag.default:
                return None
        try:
            sources.check_text(given.text)
            return flag.parse(given.text)
        except ValueError as error:
            raise usage.UsageError(f"{given.where}={given.shown(flag)}: {error}") from None

    def __str__(self) -> str:
        return help_text(self._program)

    # usage.Options prints this for wrong flags too; both are the same here.
    def getUsage(self, width: int | None = None) -> str:
        return str(self)


def help_text(program: str) -> str:
    """:returns: every flag by group, with its default and environment variables."""
    lines = [
        f"Usage: {program} [flags]",
        "",
        Options.longdesc,
        "",
        "Flags may be spelled with - or _ and take their value after = or a space. Each can be set by the environment",
        "variable in brackets; a flag beats the environment. Durations: 300ms, 5s, 1m30s, or bare seconds. Sizes:",
        "65536, 64KiB, 4MiB.",
    ]
    for title, group in GROUPS:
        lines += ["", f"{title}:"]
        for flag in group:
            lines += _described(flag)
    lines += ["", "  --help                 show this text", "  --version              show the version"]
    return "\n".join(lines) + "\n"


def _described(flag: Flag) -> Iterator[str]:
    head = f"  --{flag.name}" + ("" if flag.switch else f"={flag.metavar}")
    shown = "" if flag.switch or not flag.default else f" (default {flag.default})"
    body = textwrap.wrap(f"{flag.help}{shown} [{', '.join(flag.variables)}]", 90, break_long_words=False)
    if len(head) < 25:
        yield head.ljust(25) + body.pop(0)
    else:
        yield head
    for line in body:
        yield " " * 25 + line
