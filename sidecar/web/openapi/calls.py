"""The routes that call services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar.web.openapi.route import NAME, SERVICE, TIMEOUT, VERSION, Parameter, Route, ref

_ANY: Final[Mapping[str, Any]] = {}
_SEGMENT: Final = {"type": "string", "pattern": "^[a-zA-Z0-9-]+$"}
_TIMEOUT = Parameter(
    "Timeout",
    "how long the call may take: with a unit, or a bare number of seconds (of nanoseconds from 1,000,000 on)",
    schema=TIMEOUT,
    place="header",
    example="300ms",
)
_CALL_ERRORS: Final = {
    404: "no such service, or no node of that version",
    408: "an error of the service itself, with its own code; any code from 400 to 599 can come from a service",
    501: "the nodes speak a transport that is not spoken here",
    502: "the node could not be reached, or what it answered is no answer",
    503: "the service has no node, or too much is under way",
    504: "no answer in time",
}

CALLS: Final[tuple[Route, ...]] = (
    Route(
        "POST",
        "/rpc",
        "call",
        "Call a method of a service",
        "By JSON, by form, or as protobuf with service and method in the query. The payload passes through byte for "
        "byte; request headers go along as metadata. An error of the service keeps its code, id and detail.",
        role="call",
        parameters=(SERVICE, Parameter("method", "the method", schema=NAME, example="Say.Hello"), VERSION, _TIMEOUT),
        bodies={
            "application/json": ref("Call"),
            "application/x-www-form-urlencoded": ref("Call"),
            "application/protobuf": {"type": "string", "format": "binary"},
        },
        answers={"application/json": _ANY, "application/protobuf": {"type": "string", "format": "binary"}},
        errors=_CALL_ERRORS,
    ),
    Route(
        "POST",
        "/{service}/{method}",
        "callByPath",
        "Call a method of a service by path",
        "`/greeter/say/hello` is Say.Hello of the service greeter in the namespace of --sidecar_namespace, "
        "`/say/hello` that of say; before them there can be more segments, and a version such as v1. All of the body "
        "is the request. With --sidecar_handler=proxy, web or http any request goes on to a node instead.",
        role="call",
        parameters=(
            Parameter("service", "the name of a service, without its namespace", True, _SEGMENT, "path", "greeter"),
            Parameter("method", "the method, in lower case", True, _SEGMENT, "path", "hello"),
            VERSION,
            _TIMEOUT,
        ),
        bodies={
            "application/json": _ANY,
            "application/x-www-form-urlencoded": {"type": "object"},
            "application/protobuf": {"type": "string", "format": "binary"},
        },
        answers={"application/json": _ANY, "application/protobuf": {"type": "string", "format": "binary"}},
        errors=_CALL_ERRORS,
        any_method=True,
        needs_body=False,
    ),
    Route(
        "POST",
        "/",
        "callAsProxy",
        "A call of a go-micro client whose proxy this is",
        "Micro-Service and Micro-Endpoint name the target, the body is the request. The answer is in go-micro's "
        "dialect: 200, and errors in Micro-Error; one of the two that is missing is such an error.",
        role="call",
        parameters=(
            Parameter("Micro-Service", "the name of a service", False, NAME, "header", "greeter"),
            Parameter("Micro-Endpoint", "the method", False, NAME, "header", "Say.Hello"),
            _TIMEOUT,
        ),
        bodies={"application/json": _ANY, "application/protobuf": {"type": "string", "format": "binary"}},
        answers={"application/json": _ANY, "application/protobuf": {"type": "string", "format": "binary"}},
        errors={405: "there is neither Micro-Service nor Micro-Endpoint"},
        needs_body=False,
    ),
    Route(
        "GET",
        "/rpc/stream",
        "stream",
        "A go-micro stream over a WebSocket",
        "Each text frame is one message either way; an empty one says that no more will come.",
        role="call",
        parameters=(
            Parameter("service", "the name of a service", required=True, schema=NAME),
            Parameter("method", "the method", required=True, schema=NAME),
        ),
        errors={426: "it is a WebSocket: send an upgrade", **_CALL_ERRORS},
        websocket=True,
    ),
)
