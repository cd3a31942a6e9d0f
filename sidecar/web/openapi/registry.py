"""The routes of the registry."""

from __future__ import annotations

from typing import Final

from sidecar.web.openapi.route import DATE, DURATION, SERVICE, TEXT, VERSION, Parameter, Route, ref

_TTL = Parameter(
    "ttl",
    "how long the registration lives unless it is renewed: units ns, us, ms, s, m, h, compound such as 1m30s",
    schema={"type": "string", "pattern": "^[1-9][0-9]{0,5}(ns|us|ms|s|m|h)$"},
    example="30s",
)
_INDEX = Parameter(
    "index", "what was seen already, from `X-Micro-Index`", schema={"type": "integer", "minimum": 0}, example="42"
)
UNAVAILABLE: Final = {503: "the engine that holds the registry cannot be reached, or the sidecar is stopping"}

REGISTRY: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        "/registry",
        "lookUp",
        "Services and their nodes",
        "Without `service` the names of all services; with it that service. `format=array` gives one object a version, "
        "as the original did. `X-Micro-Index` tells the index in the journal: with it as `index` the answer comes when "
        "there is more, or after `wait` as it is. A WebSocket handshake on this path opens a watch: each change is a "
        'frame `{"Action":"create|update|delete","Service":{...}}`, of all services or of one.',
        role="read",
        parameters=(
            Parameter(
                "service",
                "the name of a service; all of them where it is empty",
                schema={**TEXT, "maxLength": 512},
                example="greeter",
            ),
            VERSION,
            Parameter("format", "one object, or one a version", schema={"enum": ["object", "array"]}),
            _INDEX,
            Parameter(
                "wait",
                "with index: answer after this time though nothing changed, up to a sixteenth later; 5m unless given, "
                "10m at most",
                schema=DURATION,
                example="30s",
            ),
            Parameter(
                "at", "tell how it was at this time, a date of RFC 3339", schema=DATE, example="2026-11-25T03:00:00Z"
            ),
        ),
        answers={"application/json": {"oneOf": [ref("Service"), ref("Services")]}},
        errors={
            404: "there is no such service, or none of that version, or was not at that time",
            410: "the journal does not go back to that time; the detail says since when it does",
            **UNAVAILABLE,
        },
        upgrades=True,
    ),
    Route(
        "GET",
        "/registry/watch",
        "watch",
        "What comes, alters and goes in the registry, as it happens",
        "Server-Sent Events: `create`, `update` and `delete`, whose data is an entry of the journal and whose id its "
        "index. `Last-Event-ID` goes on exactly there; where the journal does not go back so far, `reset` tells the "
        "whole state first. Comments show every 15 s that the sidecar is there.",
        role="read",
        parameters=(
            SERVICE,
            _INDEX,
            Parameter("Last-Event-ID", "the id of the last event that was seen", place="header", example="42"),
        ),
        answers={"text/event-stream": {"type": "string"}},
        errors=UNAVAILABLE,
    ),
    Route(
        "POST",
        "/registry",
        "register",
        "Register a service",
        "Registers every node of the body; again renews. A node without an id gets one, which the answer tells.",
        role="register",
        parameters=(_TTL,),
        bodies={"application/json": ref("Registration")},
        answers={"application/json": ref("Service")},
        errors={409: "the id belongs to somebody else", 507: "there is no space to keep it", **UNAVAILABLE},
    ),
    Route(
        "DELETE",
        "/registry",
        "deregister",
        "Deregister nodes of a service",
        "Takes the nodes of the body, known by their ids, out. Unknown ones are no error.",
        role="register",
        bodies={"application/json": ref("Deregistration")},
        answers={"application/json": {"type": "object"}},
        errors=UNAVAILABLE,
    ),
)
