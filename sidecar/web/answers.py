"""A whole answer as a value, and the one place that writes it to a request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import orjson
from attrs import frozen
from twisted.web.http import Request

Headers = tuple[tuple[bytes, bytes], ...]

JSON: Final[Headers] = ((b"Content-Type", b"application/json"),)


@frozen
class Answer:
    """What goes back to a caller, complete.

    :ivar headers: all but ``Content-Length``, which the writer adds.
    """

    body: bytes
    status: int = int(HTTPStatus.OK)
    headers: Headers = JSON


def of_json(value: object, headers: Headers = ()) -> Answer:
    """A good answer holding ``value`` as JSON. :param headers: what to say besides the content type."""
    return Answer(orjson.dumps(value), headers=JSON + headers)


def gone(request: Request) -> bool:
    """Whether nobody waits for an answer any more: it was given, or the caller hung up."""
    return bool(request.finished) or request.channel is None


def write(request: Request, answer: Answer) -> None:
    """Write a whole answer: in one go where the request's class can do that, piece by piece elsewhere.

    A HEAD gets the length of the body and not the body: both kinds of request see to that themselves. A caller who has
    left gets nothing.
    """
    if gone(request):
        return
    in_one_go = getattr(request, "answer", None)
    if in_one_go is not None:
        in_one_go(answer.status, answer.headers, answer.body)
        return
    request.setResponseCode(answer.status)
    for name, value in answer.headers:
        request.setHeader(name, value)
    request.setHeader(b"Content-Length", b"%d" % len(answer.body))
    request.write(answer.body)
    request.finish()
