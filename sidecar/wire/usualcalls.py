"""Bodies of POST /rpc as nearly all callers write them: read with one look at their front, and nothing decoded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import define

from sidecar.model import Call
from sidecar.wire import rawjson

JSON: Final = "application/json"

#: A name as nearly all are written, which needs no decoding in JSON or in a form.
_PLAIN: Final = rb"([\w.:/@-]{1,256})"

#: A JSON body up to the payload, which is no string and stands behind no white space.
_JSON_FRONT = re.compile(rb'\{"service": ?"%b", ?"method": ?"%b", ?"request": ?(?=[^" \t\r\n])' % (_PLAIN, _PLAIN))
#: All of a form.
_FORM = re.compile(rb'service=%b&method=%b&request=([^&%%+" ][^&%%+]*)' % (_PLAIN, _PLAIN))

_CLOSING_BRACE: Final = ord("}")
#: No letter up to this one begins a payload that is read here: white space, an exclamation mark, a quotation mark.
_QUOTE: Final = ord('"')


def read(kind: str, body: bytes, metadata: Mapping[str, str], lines: bytes) -> Call | None:
    """Read a call as nearly all are written.

    :param kind: ``json`` or ``form``. :param metadata: what goes along. :param lines: header lines that do, too.
    :returns: the call; None where the body takes a closer look, which also tells what is wrong with it.
    """
    if kind == "json":
        found = _JSON_FRONT.match(body)
        if found is None or body[-1] != _CLOSING_BRACE:
            return None
        request = body[found.end() : -1]
    else:
        found = _FORM.fullmatch(body)
        if found is None:
            return None
        request = found[3]
    if not rawjson.is_plain(request):  # one value, so it ends where it seems to end
        return None
    return Call(found[1].decode("ascii"), found[2].decode("ascii"), request, JSON, metadata, None, None, lines)


@define(eq=False)
class RepeatedCalls:
    """Reads the calls that one client makes one after the other, which nearly always have the same front."""

    _kind: str
    _front: bytes = b"no front yet"
    _service: str = ""
    _method: str = ""

    def read(self, body: bytes, metadata: Mapping[str, str], lines: bytes) -> Call | None:
        """As :func:`read` of this module."""
        if body.startswith(self._front) and body[-1] == _CLOSING_BRACE:
            request = body[len(self._front) : -1]
            if rawjson.is_plain(request) and request[0] > _QUOTE:
                return Call(self._service, self._method, request, JSON, metadata, None, None, lines)
            return None
        call = read(self._kind, body, metadata, lines)
        if call is not None and self._kind == "json":
            self._front = body[: -1 - len(call.request)]
            self._service, self._method = call.service, call.method
        return call
