"""The JSON-RPC 1.0 envelope of go-micro, and what the answers of ten years of services mean.

:source: ``codec/jsonrpc`` and ``server/rpc_codec.go`` of micro/go-micro@d3bfdc79, @v0.20.0, @v1.0.0, @v1.18.0, @v6.10.0
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

import orjson

from sidecar.errors import BadAnswer, ServiceFault
from sidecar.model import Fault
from sidecar.wire import faults, rawjson

#: The content type that every generation's server decodes with its JSON-RPC codec, with or without Micro headers.
JSON_RPC = "application/json-rpc"

#: How nearly every good answer begins and ends; group 1 is an id that is a number.
_BEGINS = re.compile(rb'\{"id":(?:"[^"\\]{0,64}"|([0-9]{1,20})|null),"result":')
_ENDS = (b',"error":null}\n', b',"error":null}')

#: Looks up a header of the answer by its lower-case name.
Header = Callable[[bytes], bytes | None]

#: Characters of a node's words that an error carries on.
_WORDS = 2048


def opening(method: str) -> bytes:
    """The envelope up to the payload, which must be exactly one JSON value: some servers die of an empty ``params``."""
    return b'{"method":' + orjson.dumps(method) + b',"params":['


def closing(id: bytes) -> bytes:
    """The envelope after the payload. :param id: decimal digits."""
    return b'],"id":' + id + b"}"


def result(body: bytes, id: bytes, header: Header) -> tuple[bytes, bool]:
    """Read the body of an answer with status 200.

    :param id: the id that was sent, in decimal digits.
    :param header: gives headers of the answer; asked only when the body does not say enough.
    :returns: the result as its own bytes, and whether the id came back as the number that was sent: only servers of
        2016 to 2018 do that.
    :raises ServiceFault: the service answered an error. :raises BadAnswer: this is no answer.
    """
    begun = _BEGINS.match(body)
    if begun is not None:
        for end in _ENDS:
            if body.endswith(end):
                found = body[begun.end() : -len(end)]
                if not rawjson.is_plain(found):  # one JSON value, so nothing else hides between the two ends
                    break
                return found, begun[1] == id
    return _result_in_any_order(body, id, header)


def _result_in_any_order(body: bytes, id: bytes, header: Header) -> tuple[bytes, bool]:
    try:
        parts = rawjson.members(body)
    except ValueError as error:
        _no_envelope(body, str(error), header)
    if not parts.keys() & {"result", "error", "id"}:
        _no_envelope(body, "it has no result", header)
    said = parts.get("error", b"null")
    if said not in (b"null", b'""'):
        raise_fault(said)
    # Prefer the body over headers: a server's headers begin as a copy of old ones.
    return parts.get("result", b"null"), parts.get("id") == id


def raise_fault(said: bytes) -> NoReturn:
    """Raise what the ``error`` member of an envelope says. :param said: the member as JSON."""
    text = rawjson.string(said)
    if text is None:
        # go-micro writes a string; apps that follow JSON-RPC 2.0 write an object.
        try:
            found = orjson.loads(said)
        except ValueError:
            found = None
        fault = faults.of_members(found) if isinstance(found, dict) else None
        raise ServiceFault(fault or Fault("", 0, said.decode("utf-8", "replace"), ""))
    raise ServiceFault(faults.parse(text))


def raise_from_headers(header: Header) -> None:
    """Raise the error that the headers of an answer tell, if they tell one."""
    told = header(b"micro-error") or header(b"x-micro-error")
    if told:
        raise ServiceFault(faults.parse(told.decode("utf-8", "replace")))


def refused(status: int, body: bytes) -> ServiceFault:
    """The error of an answer whose status is not 200, which no RPC layer gives, told as go-micro's clients tell it."""
    words = body.decode("utf-8", "replace").strip()[:_WORDS]
    line = f"{status} {faults.reason(status)}".rstrip()
    fault = Fault("go.micro.client.transport", 500, f"{line}: {words}" if words else line, faults.reason(500))
    return ServiceFault(fault, enveloped=status < 500 or faults.parse(words).code != 0)


def _no_envelope(body: bytes, why: str, header: Header) -> NoReturn:
    raise_from_headers(header)
    raise_unsupported(body, header)
    if not body.strip():
        raise BadAnswer("answered nothing: an empty body without an error")
    raise BadAnswer(f"answered something that is not a JSON-RPC envelope: {why}")


def raise_unsupported(body: bytes, header: Header) -> None:
    """Raise the complaint of a server that does not know our content type, if that is what it answered."""
    content_type = header(b"content-type") or b""
    if content_type.startswith(b"text/plain") and body[:25].lower() == b"unsupported content-type:":
        raise ServiceFault(Fault("", 0, body.decode("utf-8", "replace").strip()[:_WORDS], ""))
