"""The configuration file: every flag by its name, and what flags cannot say, in TOML. Each value knows its line."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from attrs import field, frozen
from twisted.python.usage import UsageError

from sidecar.daemon.cmdline.flags import BY_NAME
from sidecar.daemon.cmdline.given import FILE
from sidecar.daemon.cmdline.sources import GivenValue, check_text, printable
from sidecar.daemon.cmdline.unsupported import UNSUPPORTED
from sidecar.model import EMPTY
from sidecar.redaction import redacted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

#: Bytes of the largest file to read.
_MOST = 4 * 1024 * 1024
#: Where the file is unless ``--config`` says.
_SYSTEM = "/etc/microsidecar/sidecar.toml"
#: What ``--config`` says for no file at all.
NONE = "none"
#: A key of a table: its names one below the other. Tables in a list have their number between.
Path = tuple[str | int, ...]

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*\]\]?")


@frozen
class ConfigTable:
    """One table of the file, read key by key.

    :ivar file: its path, for messages. :ivar path: of the table. :ivar lines: the line of each key of the file.
    """

    file: str
    values: Mapping[str, Any] = EMPTY
    path: Path = ()
    lines: Mapping[Path, int] = field(factory=dict, repr=False)

    def where(self, key: str = "") -> str:
        """:returns: the place of a key, or of the table, as messages name it."""
        path = (*self.path, key) if key else self.path
        # What stands in braces has the line of what it stands in.
        found = (self.lines[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in self.lines)
        line = next(found, None)
        return self.file if line is None else f"{self.file} line {line}"

    def fault(self, key: str, message: str) -> UsageError:
        """:returns: to be raised: what is wrong with a key."""
        return UsageError(f"{self.where(key)}: {key}: {message}")

    def read(self, key: str, parse: Callable[[str], T]) -> T | None:
        """:param parse: reads the text of it. :returns: what it read; None where the key is not there.
        :raises UsageError: it cannot be read."""
        if key not in self.values:
            return None
        text = self.text(key, self.values[key])
        try:
            check_text(text)
            return parse(text)
        except ValueError as error:
            raise UsageError(f"{self.where(key)}: {key}={printable(redacted(text))}: {error}") from None

    def text(self, key: str, value: object) -> str:
        """:returns: a TOML value as the flag of that name would be given it."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)):
            return f"{value:g}" if isinstance(value, float) else str(value)
        raise self.fault(key, f"it is {_kind(value)}; write a string, a number, or true or false")

    def texts(self, key: str) -> tuple[str, ...]:
        """:returns: the strings of a list, or the only one."""
        value = self.values.get(key, ())
        found = value if isinstance(value, (list, tuple)) else [value]
        return tuple(self.text(key, one) for one in found)

    def pairs(self, key: str) -> dict[str, str]:
        """:returns: a table of strings."""
        value = self.values.get(key, {})
        if not isinstance(value, Mapping):
            raise self.fault(key, f'it is {_kind(value)}; write a table: {key} = {{ name = "value" }}')
        return {name: self.text(key, one) for name, one in value.items()}

    def tables(self, key: str) -> Iterator[ConfigTable]:
        """The tables of ``[[key]]``."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            names = ".".join([*(one for one in self.path if isinstance(one, str)), key])
            raise self.fault(key, f"write [[{names}]], once for each")
        for number, one in enumerate(value):
            yield ConfigTable(self.file, one, (*self.path, key, number), self.lines)

    def check_keys(self, known: Iterable[str]) -> None:
        """:raises UsageError: a key is none of those that are known."""
        names = sorted(known)
        for key in self.values:
            if key not in names:
                near = difflib.get_close_matches(key.replace("-", "_"), names, 1, 0.5)
                meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
                raise UsageError(f"{self.where(key)}: {printable(key)} is no setting; {meant}")


@frozen
class ConfigFile:
    """What the file says. :ivar given: by the name of the flag. :ivar apps: the tables ``[[app]]``."""

    path: str = ""
    given: Mapping[str, GivenValue] = field(factory=dict)
    apps: tuple[ConfigTable, ...] = ()


def find(named: str, environ: Mapping[str, str], exists: Callable[[str], bool]) -> str:
    """:param named: by ``--config``, "" where it was not given. :returns: the path of the file to read, "" for none."""
    if named:
        return "" if named == NONE else named
    home = environ.get("HOME", "")
    own = environ.get("XDG_CONFIG_HOME", "") or (f"{home}/.config" if home else "")
    places = [f"{own}/microsidecar/sidecar.toml"] if own else []
    return next(filter(exists, [*places, _SYSTEM]), "")


def read(path: str) -> ConfigFile:
    """:raises UsageError: there is no such file, or something in it is no good; with its line."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST).decode()
    except OSError as error:
        raise UsageError(f"--config={path}: it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--config={path}: it is not text in UTF-8 (byte {error.start})") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--config={path}: it is not TOML: {error}") from None
    table = ConfigTable(path, values, (), lines(text))
    return ConfigFile(path, dict(_flags(table)), tuple(table.tables("app")))


def _flags(table: ConfigTable) -> Iterator[tuple[str, GivenValue]]:
    said: dict[str, str] = {}
    for key, value in table.values.items():
        if key == "app":
            continue
        flag = BY_NAME.get(key.replace("-", "_"))
        if flag is None or flag.name == "config":
            _unknown(table, key)
            continue
        if flag.name in said:
            raise table.fault(key, f"it is given twice, as {said[flag.name]} too; leave one of them out")
        said[flag.name] = key
        if isinstance(value, Mapping) and flag.pairs:
            text = ",".join(f"{name}={one}" for name, one in table.pairs(key).items())
        elif isinstance(value, list) and flag.repeatable:
            text = ",".join(table.texts(key))
        else:
            text = table.text(key, value)
        yield flag.name, GivenValue(f"{table.where(key)}: {key}", text, FILE)


def _unknown(table: ConfigTable, key: str) -> None:
    name = key.replace("-", "_")
    if name in UNSUPPORTED:
        raise table.fault(key, f"it is not for the sidecar: {UNSUPPORTED[name]}")
    table.check_keys(
        ["app", *(known for known in BY_NAME if known != "config"), *(one for one in table.values if one != key)]
    )


def lines(text: str) -> dict[Path, int]:
    """:param text: TOML that can be read. :returns: the line of each key, and of each ``[table]``."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quote:
            # Inside a string of several lines.
            quote = "" if line.count(quote) % 2 else quote
            continue
        header, key = _HEADER.match(line), _KEY.match(line)
        if header is not None:
            table = _path(_names(header[2]), header[1] == "[[", counts)
            found.setdefault(table, number)
        elif key is not None:
            found.setdefault((*table, *_names(key[1])), number)
            for depth in range(1, len(_names(key[1]))):
                found.setdefault((*table, *_names(key[1])[:depth]), number)
        quote = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")
    return found


def _names(dotted: str) -> list[str]:
    return [one.strip("\"'") for one in re.findall(_NAME, dotted)]


def _path(names: Sequence[str], is_list: bool, counts: dict[Path, int]) -> Path:
    """:param counts: how many tables of each list there were so far."""
    path: Path = ()
    for depth, name in enumerate(names):
        path = (*path, name)
        if depth == len(names) - 1 and is_list:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return f"a {type(value).__name__}" if not isinstance(value, (int, float)) else "a number"
