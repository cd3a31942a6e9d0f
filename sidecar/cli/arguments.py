"""The command line of a client command. Knows nothing of the daemon, so that nothing of it is imported."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sidecar.cli import table
from sidecar.wire import durations

#: The word that means the daemon.
DAEMON = "sidecar"


class Wrong(Exception):
    """The command line makes no sense; the text says why."""


@dataclass
class Arguments:
    """A command line, read.

    :ivar command: None where none is named. :ivar words: what follows its name.
    :ivar flags: by name with ``_``, the values of each in order; a switch has ``"true"``.
    :ivar passed: flags of the daemon, as they were written, for a command that takes them.
    :ivar program: the words of a program to run, for a command that runs one.
    """

    command: table.Command | None = None
    words: list[str] = field(default_factory=list)
    flags: dict[str, list[str]] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)
    program: list[str] = field(default_factory=list)

    def given(self, name: str) -> bool:
        """Whether the switch or flag ``name`` is there."""
        return bool(self.flags.get(name))

    def text(self, name: str) -> str:
        """:returns: the value of flag ``name``, from its environment variable or its default where it is not given."""
        values = self.flags.get(name)
        if values:
            return values[-1]
        option = table.option(name, self.command)
        assert option is not None, name
        return (self.environ.get(option.env, "") if option.env else "") or option.default

    def every(self, name: str) -> list[str]:
        """:returns: all values of a flag that may be repeated."""
        return self.flags.get(name, [])

    def seconds(self, name: str) -> float | None:
        """:returns: a duration, None where it is not given. :raises Wrong: it is none."""
        text = self.text(name)
        if not text:
            return None
        try:
            found = float(text) if text.replace(".", "", 1).isdigit() and text.isascii() else durations.with_days(text)
        except ValueError as error:
            raise Wrong(f"--{name}={text}: {error}") from None
        if not 0 < found < 1e8:
            raise Wrong(f"--{name}={text}: write a time above 0, such as 10s or 1m")
        return found

    def number(self, name: str) -> int:
        """:returns: a whole number, 0 where it is not given. :raises Wrong: it is none."""
        text = self.text(name)
        if not text:
            return 0
        if not (text.isascii() and text.isdigit()) or len(text) > 12:
            raise Wrong(f"--{name}={text}: write a whole number")
        return int(text)


def is_for_the_daemon(given: Sequence[str]) -> bool:
    """
    :returns: whether the first word is ``sidecar``, or a flag that only the daemon may have stands before it.
    :raises Wrong: such a flag is there, and nothing names the daemon.
    """
    waiting = iter(given)
    for argument in waiting:
        if not argument.startswith("-"):
            return argument == DAEMON
        name, equals, _ = _split(argument)
        option = table.option(name)
        if option is None:
            if _passing(given):
                return False
            if DAEMON in given:
                return True
            flag = argument.partition("=")[0]
            raise Wrong(f"{flag} is no flag of the client commands; to run a sidecar with it: micro sidecar")
        if option.metavar and not option.optional and not equals:
            next(waiting, None)
    return False


def is_for_a_client(given: Sequence[str]) -> bool:
    """:returns: whether the first word, with nothing but client flags before it, is the name of a client command."""
    waiting = iter(given)
    for argument in waiting:
        if not argument.startswith("-"):
            names = {name.split()[0] for one in table.COMMANDS for name in (one.words, *one.aliases)}
            return argument in names
        name, equals, _ = _split(argument)
        option = table.option(name)
        if option is None:
            return False
        if option.metavar and not equals:
            next(waiting, None)
    return False


def parse(given: Sequence[str], environ: Mapping[str, str]) -> Arguments:
    """:raises Wrong: an unknown command or flag, a flag without its value or with one that there is not."""
    given, program = _without_program(given)
    given, passed = _without_daemon_flags(given) if _passing(given) else (given, [])
    words, flags = _split_up(given)
    if words[:1] == ["registry"]:
        words = words[1:]
    if words[:1] == ["help"]:
        words, flags = words[1:], [*flags, ("--help", "help", None)]
    found = Arguments(environ=environ, passed=passed, program=program)
    if words:
        named = table.find(words)
        if named is None:
            raise Wrong(_unknown(words))
        found.command, found.words = named
        _check_words(*named)
    for written, name, value in flags:
        option = table.option(name, found.command)
        if option is None:
            raise Wrong(_unknown_flag(written, name, found.command))
        if option.choices and value not in option.choices:
            raise Wrong(f"{written}={value}: it is one of {', '.join(option.choices)}")
        values = found.flags.setdefault(option.name, [])
        if values and not option.repeatable:
            raise Wrong(f"{written} is given twice; once is enough")
        values.append("true" if value is None else value)
    return found


def _passing(given: Sequence[str]) -> bool:
    """Whether a command is named that takes the daemon's flags: its name comes before any ``--`` and other command."""
    for argument in given:
        if argument == "--" or argument == DAEMON:
            return False
        for command in table.COMMANDS:
            if argument == command.words.split()[0]:
                return command.passes
    return False


def _check_words(command: table.Command, words: Sequence[str]) -> None:
    """:raises Wrong: there are more words than the command takes."""
    taken = command.arguments.replace("[", "").replace("]", "").split()
    # These may be written in several words.
    if command.program or {"JSON", "BODY"} & set(taken) or len(words) <= len(taken):
        return
    takes = f"takes {command.arguments}" if taken else "takes nothing"
    raise Wrong(f"micro {command.words} {takes}: {words[len(taken)]!a} is one word too many")


def _without_program(given: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """:returns: the command line without the program that a command is to run, and the words of that: they come after
    ``--``, or begin with the first word that is no flag."""
    waiting = iter(enumerate(given))
    for index, argument in waiting:
        if argument.startswith("-") and argument != "--":
            name, equals, _ = _split(argument)
            if not equals and _takes_value(name):
                next(waiting, None)
            continue
        if not any(argument == command.words and command.program for command in table.COMMANDS):
            return given, []
        rest = list(given[index + 1 :])
        begins = rest.index("--") if "--" in rest else _first_word(rest)
        return [*given[: index + 1], *rest[:begins]], rest[begins + (rest[begins : begins + 1] == ["--"]) :]
    return given, []


def _first_word(given: Sequence[str]) -> int:
    """:returns: where the first word stands that is neither a flag nor the value of one."""
    waiting = iter(enumerate(given))
    for index, argument in waiting:
        if not argument.startswith("-"):
            return index
        name, equals, _ = _split(argument)
        if not equals and _takes_value(name):
            next(waiting, None)
    return len(given)


def _takes_value(name: str) -> bool:
    from sidecar.daemon.cmdline.flags import BY_NAME

    option = table.option(name)
    if option is not None:
        return bool(option.metavar) and not option.optional
    flag = BY_NAME.get(name)
    return flag is not None and not flag.switch


def _without_daemon_flags(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """:returns: the command line without the flags that only the daemon has, and those flags."""
    # Imported here: only the few commands that take them need the daemon's table.
    from sidecar.daemon.cmdline.flags import BY_NAME

    own: list[str] = []
    passed: list[str] = []
    waiting = iter(given)
    for argument in waiting:
        if argument == "--":
            own += [argument, *waiting]
            break
        name, equals, _ = _split(argument)
        flag = BY_NAME.get(name) if argument.startswith("--") and table.option(name) is None else None
        if flag is None:
            own.append(argument)
            continue
        passed.append(argument)
        if not equals and not flag.switch:
            passed += [value for value in [next(waiting, None)] if value is not None]
    return own, passed


def _split_up(given: Sequence[str]) -> tuple[list[str], list[tuple[str, str, str | None]]]:
    """:returns: the words, and each flag as it was written, by name, and its value."""
    words: list[str] = []
    flags: list[tuple[str, str, str | None]] = []
    waiting = iter(given)
    for argument in waiting:
        if argument == "--":
            words.extend(waiting)
            continue
        name, equals, value = _split(argument)
        option = table.option(name)
        short = not argument.startswith("--")
        if not argument.startswith("-") or (short and (option is None or option.short != name)):
            # A JSON number may begin with a minus, and "-" alone is a word of its own.
            words.append(argument)
            continue
        written = argument.partition("=")[0]
        if option is None:
            flags.append((written, name, value))
        elif option.optional:
            flags.append((written, option.name, value if equals else option.optional))
        elif option.metavar:
            following = value if equals else next(waiting, None)
            if following is None:
                raise Wrong(f"{argument} needs a value: {argument}={option.metavar}")
            flags.append((written, option.name, following))
        elif not equals or value.lower() in ("true", "1"):
            flags.append((written, option.name, None))
    return words, flags


def _unknown(words: list[str]) -> str:
    names = [name for command in table.COMMANDS for name in (command.words, *command.aliases)]
    beginnings = sorted({name.split()[0] for name in names if " " in name})
    if words[0] in beginnings:
        meant = sorted(command.words for command in table.COMMANDS if command.words.startswith(f"{words[0]} "))
        return f"{words[0]} what? write: {' or '.join(f'micro {one}' for one in meant)}"
    near = difflib.get_close_matches(words[0], [*{name.split()[0] for name in names}, DAEMON], 1)
    return f"{words[0]!r} is not a command; " + (f"did you mean {near[0]}?" if near else "see micro --help")


def _unknown_flag(written: str, name: str, command: table.Command | None) -> str:
    known = [one.name for one in (*(command.options if command is not None else ()), *table.COMMON)]
    if command is not None and command.passes:
        from sidecar.daemon.cmdline.flags import BY_NAME

        known += BY_NAME
    near = difflib.get_close_matches(name, known, 1)
    of = f"micro {command.words}" if command is not None else "micro"
    return f"{written} is not a flag of {of}; " + (f"did you mean --{near[0]}?" if near else f"see {of} --help")


def _split(argument: str) -> tuple[str, str, str]:
    name, equals, value = argument.lstrip("-").partition("=")
    return name.replace("-", "_"), equals, value
