"""A whole answer as a value, and the one place that writes it, or an error, to a request."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

import orjson
from attrs import frozen

from sidecar.problems import SIDECAR, Problem, problem
from sidecar.rpc.receipts import Receipt
from sidecar.web.auth import caller_of
from sidecar.web.requests import requestids
from sidecar.wire import faults

#: Header fields as lines, each with its end, or as pairs where they are made for one answer.
Headers = bytes | tuple[tuple[bytes, bytes], ...]

JSON: Final = b"Content-Type: application/json\r\n"


class Request(Protocol):
    """What the resources use of a request. Those of both our channels have it: see :mod:`sidecar.net.http.request`."""

    method: bytes
    uri: bytes
    path: bytes
    prepath: Any
    postpath: Any
    fields: dict[bytes, bytes]
    fields_raw: list[tuple[bytes, bytes]]
    requestHeaders: Any
    body: bytes
    finished: Any
    channel: Any
    on_lost: Any
    id_line: bytes | None
    head: Any
    why: Any
    call: Any
    attempts: Any
    started: float

    def answer(self, status: int, headers: Headers, body: bytes) -> None: ...

    def found_for_all(self, found: Any) -> None: ...


class StreamedRequest(Request, Protocol):
    """What a resource uses besides that takes bodies as they come: our own channel's requests have it."""

    site: Any
    code: int
    upgrade: bool
    streaming: bool
    dressed: bool
    sentLength: int
    responseHeaders: Any
    body_follows: bool

    def begin(
        self,
        status: int,
        headers: Headers,
        data: bytes,
        reason: bytes | None,
        preamble: bytes | None,
        length: int | None,
    ) -> None: ...
    def relay(self, status: int, head: bytes, body: bytes) -> None: ...
    def inform(self, status: int, headers: bytes) -> None: ...
    def write(self, data: bytes) -> None: ...
    def finish(self, trailers: Sequence[tuple[bytes, bytes]]) -> None: ...
    def registerProducer(self, producer: Any, streaming: bool) -> None: ...
    def stream_body(self, receiver: Any) -> None: ...
    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...
    def decline_upgrade(self) -> None: ...
    def take_connection(self) -> tuple[Any, bytes]: ...


@frozen
class Answer:
    """What goes back to a caller, complete.

    :ivar headers: all but ``Content-Length``, which the request adds.
    """

    body: bytes
    status: int = int(HTTPStatus.OK)
    headers: Headers = JSON


def of_json(value: object, headers: bytes = b"") -> Answer:
    """A good answer holding ``value`` as JSON, on a line of its own.

    :param headers: lines to say besides the content type.
    """
    return Answer(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE), headers=JSON + headers)


def of_problem(found: Problem, receipt: Receipt | None = None) -> Answer:
    """The answer that tells a caller what went wrong, in go-micro's error JSON.

    :param receipt: of the call, for a caller who asked for one.
    """
    lines = b"".join(b"%b: %b\r\n" % header for header in found.headers)
    body = faults.encode(found.fault)
    if receipt is not None:
        lines += b"Micro-Receipt: %b\r\n" % receipt.line().encode("ascii")
        body = orjson.dumps({**orjson.loads(body), "receipt": receipt.told()})
    return Answer(body + b"\n", found.status, JSON + lines)


def fail(request: Request, error: BaseException, id: str = SIDECAR, receipt: Receipt | None = None) -> None:
    """Answer ``request`` with the error JSON of ``error``; a caller who has left is told nothing."""
    found = problem(error, id)
    request.why = found.fault.detail
    write(request, of_problem(found, receipt))


def write(request: Request, answer: Answer) -> None:
    """Write a whole answer in one go. A HEAD gets the length of the body and not the body; a caller who has left gets
    nothing: the request sees to both."""
    told = requestids.line(request)
    headers = answer.headers
    if told:
        headers = headers + told if isinstance(headers, bytes) else (*headers, (b"X-Request-Id", told[14:-2]))
    tell(request, answer.status, len(answer.body))
    request.answer(answer.status, headers, answer.body)


def tell(request: Request, status: int, size: int) -> None:
    """Have the access log, where there is one, tell of an answer. :param size: bytes of its body."""
    log = getattr(getattr(request.channel, "site", None), "access_log", None)
    if log is not None:
        log.answered(request, status, size, caller_of(request).address)
