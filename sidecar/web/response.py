"""A whole answer as a value, and the one place that writes it, or an error, to a request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, Protocol

import orjson
from attrs import frozen

from sidecar.problems import SIDECAR, Problem, problem
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

    def answer(self, status: int, headers: Headers, body: bytes) -> None: ...


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


def of_problem(found: Problem) -> Answer:
    """The answer that tells a caller what went wrong, in go-micro's error JSON."""
    lines = b"".join(b"%b: %b\r\n" % header for header in found.headers)
    return Answer(faults.encode(found.fault) + b"\n", found.status, JSON + lines)


def fail(request: Request, error: BaseException, id: str = SIDECAR) -> None:
    """Answer ``request`` with the error JSON of ``error``; a caller who has left is told nothing."""
    write(request, of_problem(problem(error, id)))


def write(request: Request, answer: Answer) -> None:
    """Write a whole answer in one go. A HEAD gets the length of the body and not the body; a caller who has left gets
    nothing: the request sees to both."""
    request.answer(answer.status, answer.headers, answer.body)
