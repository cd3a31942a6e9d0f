"""JSON cut at its seams: the members of an object and the items of an array as the very bytes they came in.

Payloads pass through the sidecar untouched, so a 64-bit integer or a decimal of forty digits arrives as it was sent.
What is cut out has been read as JSON on the way: a slice is always one whole value.

msgspec cuts in C, which takes a tenth of the time, but it checks no UTF-8, knows no byte order mark, refuses the
escape of half a surrogate pair, and does not say where it stopped. What it refuses is looked at again by a scanner of
ours, which takes what decoders may take (RFC 8259) and says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from json import JSONDecodeError, JSONDecoder
from json.decoder import scanstring  # type: ignore[attr-defined]  # public by use, absent in typeshed
from typing import Any, NoReturn

import msgspec
import orjson

#: Members or items of one value that are cut out. Nothing of ours has more than a handful, and each costs a step of
#: Python, so that a body of four megabytes of them would hold everything else up for a second.
MOST = 1000

#: The byte order mark of UTF-8, which some editors and libraries put before JSON. RFC 8259, 8.1 lets us pass over it.
BOM = b"\xef\xbb\xbf"

_skim = msgspec.json.Decoder(msgspec.Raw).decode
_cut_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_cut_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
#: Commas in a body that is cut by msgspec, which makes an object of each member before one can count them.
_MANY = 20_000
#: How msgspec says that it cannot go on.
_Refused = (msgspec.MsgspecError, RecursionError)

_SPACE = re.compile(r"[ \t\n\r]*")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Numbers are never converted: a number of a million digits costs what a string of that length does.
_DECODER = JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant, object_pairs_hook=len)


def without_bom(text: bytes) -> bytes:
    """``text`` without the byte order mark that may stand before it."""
    return text[3:] if text[:3] == BOM else text


def is_plain(text: bytes) -> bool:
    """Whether ``text`` is one JSON value and nothing else, as nearly all are; False asks for a closer look."""
    try:
        _skim(text)
    except _Refused:
        return False
    return text.isascii() or _is_utf8(text)


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def check(text: bytes) -> None:
    """See that ``text`` is one JSON value and nothing else.

    :raises ValueError: with a sentence that says what is wrong and where.
    """
    if not is_plain(text):
        clear = _clear(text)
        end = _skip(clear, _value(clear, _skip(clear, 0)))
        if end != len(clear):
            raise ValueError(f"unexpected text after the value at character {end}") from None


def is_json(text: bytes) -> bool:
    """Whether ``text`` is one JSON value and nothing else."""
    try:
        check(text)
    except ValueError:
        return False
    return True


def is_strict_json(text: bytes) -> bool:
    """The same for JSON that every decoder reads alike, nested no deeper than a thousand levels. All in C."""
    try:
        orjson.loads(without_bom(text))
    except orjson.JSONDecodeError:
        return False
    return True


def members(body: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each value as its own bytes. Of a name given twice the last one counts.

    :raises ValueError: ``body`` is not one JSON object; the sentence says what is wrong and where.
    """
    body = without_bom(body)
    if body.count(b",") <= _MANY and _is_utf8(body):
        try:
            cut = _cut_members(body)
        except _Refused:
            pass
        else:
            if len(cut) > MOST:
                raise ValueError(f"more than {MOST} members")
            return {name: bytes(value) for name, value in cut.items()}
    text = _clear(body)
    at = _opened(text, "{", "an object")
    found: dict[str, bytes] = {}
    seen = 0
    if text.startswith("}", at):
        _closed(text, at + 1)
        return found
    while True:
        if not text.startswith('"', at):
            raise ValueError(f"a member's name in quotes is expected at character {at}")
        name, at = _string(text, at + 1)
        at = _skip(text, at)
        if not text.startswith(":", at):
            raise ValueError(f"a colon is expected at character {at}")
        start = _skip(text, at + 1)
        end = _value(text, start)
        found[name] = text[start:end].encode("utf-8")
        seen += 1
        if seen > MOST:
            raise ValueError(f"more than {MOST} members")
        at = _skip(text, end)
        if text.startswith("}", at):
            _closed(text, at + 1)
            return found
        if not text.startswith(",", at):
            raise ValueError(f"a comma or a closing brace is expected at character {at}")
        at = _skip(text, at + 1)


def cutter(names: Iterable[str]) -> Callable[[bytes], dict[str, bytes] | None]:
    """Make what cuts large objects that have no other members than these, in C whatever they hold.

    :returns: a function that gives the members, or None for an object that takes a closer look.
    """
    fields = [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in names]
    decode = msgspec.json.Decoder(msgspec.defstruct("Members", fields, forbid_unknown_fields=True)).decode
    known = [name for name, _, _ in fields]

    def cut(body: bytes) -> dict[str, bytes] | None:
        try:
            found = decode(body)
        except _Refused:
            return None
        if not _is_utf8(body):
            return None
        values = ((name, getattr(found, name)) for name in known)
        return {name: bytes(value) for name, value in values if value is not msgspec.UNSET}

    return cut


def elements(body: bytes) -> list[bytes]:
    """The items of a JSON array, each as its own bytes.

    :raises ValueError: ``body`` is not one JSON array; the sentence says what is wrong and where.
    """
    body = without_bom(body)
    if body.count(b",") <= _MANY and _is_utf8(body):
        try:
            items = _cut_elements(body)
        except _Refused:
            pass
        else:
            if len(items) > MOST:
                raise ValueError(f"more than {MOST} items")
            return [bytes(item) for item in items]
    text = _clear(body)
    at = _opened(text, "[", "an array")
    found: list[bytes] = []
    if text.startswith("]", at):
        _closed(text, at + 1)
        return found
    while True:
        end = _value(text, at)
        found.append(text[at:end].encode("utf-8"))
        if len(found) > MOST:
            raise ValueError(f"more than {MOST} items")
        at = _skip(text, end)
        if text.startswith("]", at):
            _closed(text, at + 1)
            return found
        if not text.startswith(",", at):
            raise ValueError(f"a comma or a closing bracket is expected at character {at}")
        at = _skip(text, at + 1)


def string(value: bytes) -> str | None:
    """The text of a slice that is a JSON string; None where it is another kind of value."""
    if not value.startswith(b'"'):
        return None
    return _string(value.decode("utf-8"), 1)[0]


def kind(value: bytes) -> str:
    """What a slice is, in words for an error message."""
    first = value[:1]
    named = {b"{": "an object", b"[": "an array", b'"': "a string", b"t": "true", b"f": "false", b"n": "null"}
    return named.get(first, "a number")


def _clear(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    return text.removeprefix("\ufeff")


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _opened(text: str, bracket: str, what: str) -> int:
    at = _skip(text, 0)
    if at == len(text):
        raise ValueError("EOF")  # what Go's decoder says of nothing, and what callers know
    if not text.startswith(bracket, at):
        raise ValueError(f"{what} is expected at character {at}")
    return _skip(text, at + 1)


def _closed(text: str, at: int) -> None:
    end = _skip(text, at)
    if end != len(text):
        raise ValueError(f"unexpected text after the value at character {end}")


def _string(text: str, at: int) -> tuple[str, int]:
    found: tuple[str, int] = _told(scanstring, text, at)
    return found


def _value(text: str, at: int) -> int:
    """Where the value that begins at ``at`` ends."""
    if at == len(text):
        raise ValueError("EOF" if not text.strip() else "unexpected end of JSON input")
    return int(_told(_DECODER.scan_once, text, at)[1])  # type: ignore[attr-defined]  # public by use


def _told(read: Callable[[str, int], Any], text: str, at: int) -> Any:
    """Read, with every way to fail told as ValueError."""
    try:
        return read(text, at)
    except JSONDecodeError as error:
        raise ValueError(f"{error.msg.lower().removesuffix(' at')} at character {error.pos}") from None
    except StopIteration as error:
        raise ValueError(f"a value is expected at character {error.value}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
