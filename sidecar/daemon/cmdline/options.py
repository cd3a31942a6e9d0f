"""The command line and the environment of the daemon, for ``twistd microsidecar`` and ``micro sidecar`` alike."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twisted.python import usage

from sidecar import __version__
from sidecar.daemon.cmdline import configfile, sources
from sidecar.daemon.cmdline.build import settings
from sidecar.daemon.cmdline.configfile import ConfigFile
from sidecar.daemon.cmdline.flags import FLAGS, GROUPS, Flag
from sidecar.daemon.cmdline.given import DEFAULT, Source
from sidecar.daemon.cmdline.settings import Settings
from sidecar.daemon.cmdline.sources import GivenValue, HelpAsked, UserWords
from sidecar.daemon.cmdline.unsupported import ineffective


class TextAsked(Exception):
    """There is nothing to run: what was asked for is this text. :ivar text: for standard output."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Options(usage.Options):
    """Parses flags spelled with ``_`` or ``-``, with ``=`` or a space, before or after the word ``sidecar``.

    A flag beats its environment variable, which beats the configuration file, which beats the default; an empty
    variable counts as not set, but for the namespace, which may be empty.
    After ``parseOptions`` each flag's value is an item of this mapping and ``settings`` holds all of them, checked.
    """

    longdesc = "Joins any application to the Micro ecosystem over HTTP and WebSockets."
    settings: Settings
    #: The flags that were given on the command line.
    flagged: frozenset[str] = frozenset()
    #: What was said of each flag, and where.
    given: Mapping[str, GivenValue]
    #: The configuration file.
    file = ConfigFile()
    #: What is odd and stops nothing, a sentence each.
    warnings: tuple[str, ...] = ()
    #: Puts messages into the words of the user.
    words = UserWords({})

    def __init__(self, environ: Mapping[str, str] | None = None, program: str = "microsidecar") -> None:
        super().__init__()
        self._environ: Mapping[str, str] = os.environ if environ is None else environ
        self._program = program
        self._arguments: list[str] = []
        #: The ids that were made for apps, by their names and addresses.
        self._ids: dict[str, str] = {}

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """:raises usage.UsageError: one sentence that names the flag, or what it came from, and its value.
        :raises TextAsked: ``--help`` or ``--version`` was asked for."""
        self._arguments = list(options or ())
        try:
            flags = sources.from_arguments(self._arguments, self._program)
        except HelpAsked as asked:
            raise TextAsked(str(self) if asked.name == "help" else f"microsidecar {__version__}") from None
        environment, self.warnings = sources.from_environment(self._environ)
        given = {**environment, **flags}
        self.words = UserWords(given)
        try:
            self.file = self._file(given.get("config"))
            given = sources.with_secrets({**self.file.given, **given}, self._environ)
            self.given, self.words = given, UserWords(given)
            for flag in FLAGS:
                self[flag.name] = self._value(flag, given.get(flag.name))
            precedences = {name: value.precedence for name, value in given.items()}
            source = Source(dict(self), precedences, self._environ, self._ids)
            self.settings = settings(source, self.file.apps)
            odd = ineffective(source, self.settings)
        except usage.UsageError as error:
            raise usage.UsageError(self.words.of(str(error))) from None
        self.warnings = (*self.warnings, *map(self.words.of, odd))
        self.flagged = frozenset(flags)

    def again(self) -> Options:
        """:returns: the same command line, with its files as they are now; ids that were made are the same.
        :raises usage.UsageError: something is no good."""
        fresh = Options(self._environ, self._program)
        fresh._ids = self._ids
        fresh.parseOptions(self._arguments)
        return fresh

    def changed(self, fresh: Options) -> list[str]:
        """:returns: what ``fresh`` says otherwise of the flags that a reload does not apply, as the user names them."""
        before, after = self.given, fresh.given
        texts = [{name: value.text for name, value in given.items()} for given in (before, after)]
        names = [
            flag.name for flag in FLAGS if not flag.reloadable and texts[0].get(flag.name) != texts[1].get(flag.name)
        ]
        return [(after.get(name) or before[name]).where for name in names]

    def _file(self, named: GivenValue | None) -> ConfigFile:
        path = configfile.find("" if named is None else named.text, self._environ, os.path.exists)
        return configfile.read(path) if path else ConfigFile()

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
        "variable in brackets, or in the file of --config; a flag beats the environment, which beats the file.",
        "Durations: 300ms, 5s, 1m30s, 7d, or bare seconds. Sizes: 65536, 64KiB, 4MiB.",
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
