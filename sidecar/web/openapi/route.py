"""What a route is: a method of a path, with all that a caller can send and get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from attrs import field, frozen

Role = Literal["", "read", "register", "call", "publish", "subscribe", "admin"]
Place = Literal["query", "header", "path"]


#: What a name in a query may hold: anything but control characters.
TEXT: Final = {"type": "string", "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]*$"}
NAME: Final = {**TEXT, "minLength": 1, "maxLength": 512}
_UNITS: Final = "(?:[0-9]{1,6}(?:[.][0-9]{1,6})?(?:ns|us|ms|s|m|h)){1,4}"
#: A length of time, such as 30s or 1m30s; a caller's timeout, which may be a bare number; a point in time.
DURATION: Final = {"type": "string", "pattern": f"^(?:0|{_UNITS})$"}
TIMEOUT: Final = {"type": "string", "pattern": f"^(?=.*[1-9])(?:{_UNITS}|[0-9]{{1,15}})$"}
DATE: Final = {"type": "string", "format": "date-time"}


@frozen
class Parameter:
    """A parameter of a route. :ivar schema: JSON Schema of its value."""

    name: str
    description: str
    required: bool = False
    schema: Mapping[str, Any] = field(factory=lambda: TEXT)
    place: Place = "query"
    example: str = ""


@frozen
class Route:
    """One method of one path.

    :ivar role: what a caller needs where callers have roles, "" where it is open to all.
    :ivar bodies: what a request may hold: schema by media type. :ivar answers: schema by media type of the good answer.
    :ivar errors: the statuses of errors that are its own, each with when; all have those of ``COMMON_ERRORS``.
    :ivar websocket: whether the answer is a WebSocket, which the AsyncAPI document describes.
    :ivar upgrades: whether a WebSocket can be asked for besides, on which only we send.
    :ivar any_method: whether all other methods are as this one. :ivar status: of the good answer.
    :ivar needs_body: whether a request without a body is refused.
    """

    method: str
    path: str
    operation: str
    summary: str
    description: str
    role: Role = ""
    parameters: tuple[Parameter, ...] = ()
    bodies: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    answers: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    errors: Mapping[int, str] = field(factory=dict)
    websocket: bool = False
    upgrades: bool = False
    any_method: bool = False
    status: int = 200
    needs_body: bool = True


SERVICE = Parameter("service", "the name of a service", schema=NAME, example="greeter")
VERSION = Parameter("version", "only nodes of this version", schema=TEXT)


def ref(name: str) -> dict[str, Any]:
    """A schema of ours, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}
