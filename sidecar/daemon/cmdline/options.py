"""The command line and the environment of the daemon, for ``twistd microsidecar`` and ``micro sidecar`` alike."""

from __future__ import annotations

import difflib
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.python import usage

from sidecar import __version__
from sidecar.daemon.cmdline.build import Source, settings
from sidecar.daemon.cmdline.flags import BY_NAME, FLAGS, GROUPS, Flag
from sidecar.daemon.cmdline.settings import Settings
from sidecar.daemon.cmdline.unsupported import UNSUPPORTED

#: The word that may stand anywhere among the flags.
WORD = "sidecar"


class Leave(Exception):
    """There is nothing to run: what was asked for is this text. :ivar text: for standard output."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@frozen
class _Said:
    """One value as the user wrote it. :ivar where: the flag or variable, for messages."""

    where: str
    text: str
    rank: int


class Options(usage.Options):
    """Parses flags spelled with ``_`` or ``-``, with ``=`` or a space, before or after the word ``sidecar``.

    A flag beats its environment variable, which beats the default; an empty variable counts as not set.
    After ``parseOptions`` each flag's value is an item of this mapping and ``settings`` holds all of them, checked.
    """

    longdesc = "Joins any application to the Micro ecosystem over HTTP and WebSockets."
    settings: Settings
    #: The flags that were given on the command line.
    flagged: frozenset[str] = frozenset()

    def __init__(self, environ: Mapping[str, str] | None = None, program: str = "microsidecar") -> None:
        super().__init__()
        self._environ: Mapping[str, str] = os.environ if environ is None else environ
        self._program = program

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """:raises usage.UsageError: one sentence that names the flag and its value.
        :raises Leave: ``--help`` or ``--version`` was asked for."""
        said = dict(self._from_environment())
        for name, words in self._from_flags(list(options or ())):
            before = said.get(name)
            if before is not None and before.rank == 2 and BY_NAME[name].repeatable:
                words = _Said(words.where, f"{before.text},{words.text}", 2)
            said[name] = words
        for flag in FLAGS:
            self[flag.name] = self._value(flag, said.get(flag.name))
        ranks = {name: words.rank for name, words in said.items()}
        self.flagged = frozenset(name for name, rank in ranks.items() if rank == 2)
        self.settings = settings(Source(dict(self), ranks, self._environ))

    def _from_environment(self) -> Iterator[tuple[str, _Said]]:
        for flag in FLAGS:
            for variable in flag.variables:
                text = self._environ.get(variable, "")
                if text:
                    yield flag.name, _Said(variable, text, 1)
                    break

    def _from_flags(self, arguments: list[str]) -> Iterator[tuple[str, _Said]]:
        word = False
        waiting = iter(arguments)
        for argument in waiting:
            if argument == WORD and not word:
                word = True
                continue
            if not argument.startswith("-") or argument.strip("-") == "":
                raise usage.UsageError(
                    f"{argument!r} is not a flag; flags are --name=value, see {self._program} --help"
                )
            written, equals, text = argument.lstrip("-").partition("=")
            name = written.replace("-", "_")
            if name in ("help", "h"):
                raise Leave(str(self))
            if name in ("version", "v"):
                raise Leave(f"microsidecar {__version__}")
            flag = self._flag(name, argument)
            if not equals and not flag.switch:
                following = next(waiting, None)
                if following is None:
                    raise usage.UsageError(f"--{written} needs a value: --{written}={flag.metavar}")
                text = following
            elif not equals:
                text = "true"
            yield flag.name, _Said(f"--{written}", text, 2)

    def _flag(self, name: str, argument: str) -> Flag:
        flag = BY_NAME.get(name)
        if flag is not None:
            return flag
        if name in UNSUPPORTED:
            raise usage.UsageError(f"{argument} is not for the sidecar: {UNSUPPORTED[name]}")
        near = difflib.get_close_matches(name, BY_NAME, 1)
        meant = f"; did you mean --{near[0]}?" if near else f"; see {self._program} --help"
        raise usage.UsageError(f"{argument.partition('=')[0]} is not a flag{meant}")

    def _value(self, flag: Flag, said: _Said | None) -> Any:
        if said is None or (not said.text and not flag.switch):
            said = _Said("default", flag.default, 0)
            if not flag.default:
                return None
        try:
            return flag.parse(said.text)
        except ValueError as error:
            shown = "..." if flag.secret else said.text
            raise usage.UsageError(f"{said.where}={shown}: {error}") from None

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
