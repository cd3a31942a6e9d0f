"""What a request brings along: its query and its body, read strictly and raw.

Twisted parses a form body into the same ``args`` as the query, and ``curl -d`` calls every body a form: so a query is
read from the request's target alone, and a body is taken as the bytes that came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from attrs import frozen

from sidecar.errors import BadRequest, TooLarge, UnsupportedMedia
from sidecar.web.response import Request
from sidecar.wire import fields

#: Parameters in one query; nothing of ours takes more than a handful.
MAX_PARAMETERS = 64
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@frozen
class Params:
    """The parameters of a request's target. Others than ours are ignored, unless they are slips of the hand."""

    values: Mapping[str, tuple[str, ...]]

    def expect(self, *known: str) -> Params:
        """See that none is nearly one of the ``known`` ones: who wrote it would wait in vain for its effect.

        :returns: itself. :raises BadRequest: naming the one that was meant.
        """
        for name in self.values:
            if name not in known:
                lower = name.lower()
                meant = lower if lower in known else fields.meant(lower, known)
                if meant is not None:
                    raise BadRequest(
                        f"{shown(name.encode('utf-8'), 64)}: there is no such parameter; {meant} was meant, it seems"
                    )
        return self

    def one(self, name: str) -> str | None:
        """:returns: the value of a parameter, or None where it is absent. :raises BadRequest: it is given twice, or
        holds a control character, which no name of anything has."""
        found = self.values.get(name)
        if found is None:
            return None
        if len(found) > 1:
            raise BadRequest(f"{name}: is given {len(found)} times; give it once")
        if not found[0].isprintable():
            raise BadRequest(f"{name}: holds a control character")
        return found[0]

    def flag(self, name: str) -> bool:
        """:returns: whether a parameter is 1, and not 0 or absent. :raises BadRequest: it is anything else."""
        value = self.one(name)
        if value in (None, "0", "false"):
            return False
        if value in ("1", "true"):
            return True
        raise BadRequest(f"{name}: must be 1 or 0")


_NOTHING = Params({})


def query(target: bytes) -> Params:
    """Read the query of a request's target.

    :param target: the target as it came: path, question mark, query.
    :raises BadRequest: a broken escape, text that is not UTF-8, too many parameters.
    """
    _, mark, text = target.partition(b"?")
    if not mark or not text:
        return _NOTHING
    if _BAD_ESCAPE.search(text):
        raise BadRequest("query: holds a % that no two hexadecimal digits follow; write a percent sign as %25")
    values: dict[str, tuple[str, ...]] = {}
    try:
        pairs = parse_qsl(text.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise BadRequest("query: is not UTF-8") from None
    except ValueError:
        raise BadRequest(f"query: has more than {MAX_PARAMETERS} parameters") from None
    for name, value in pairs:
        values[name] = (*values.get(name, ()), value)
    return Params(values)


def body(request: Request, most: int) -> bytes:
    """Read the body raw, whatever its content type says.

    :param most: bytes that are taken.
    :raises TooLarge: it is longer. :raises UnsupportedMedia: it is compressed.
    """
    encoding = request.fields.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedMedia(f"Content-Encoding {shown(encoding)} is not read here: send the body as it is")
    if len(request.body) > most:
        raise TooLarge(f"the body is longer than {most} bytes, which --max_body allows")
    return request.body


def shown(text: bytes, most: int = 120) -> str:
    """A caller's bytes made fit for an error message: readable, on one line, not too long."""
    readable = text[:most].decode("utf-8", "backslashreplace")
    clean = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in readable)
    return clean + ("..." if len(text) > most else "")
