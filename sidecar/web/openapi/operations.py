"""The routes of those who run a sidecar: draining, maintenance, readiness."""

from __future__ import annotations

from typing import Any, Final, get_args

from sidecar.model import Reason
from sidecar.web.openapi.route import Parameter, Route

_OBJECT: Final[dict[str, Any]] = {"application/json": {"type": "object"}}
_APP: Final = Parameter("app", "the app, where there are several")
_UNKNOWN: Final = {404: "no app of that name is beside this sidecar"}

OPERATIONS: Final[tuple[Route, ...]] = (
    Route(
        "POST",
        "/drain",
        "drain",
        "Take apps out of the registry, and tell when it is safe to stop",
        "Waits --drain_delay for the news to spread, then for requests under way.",
        role="admin",
        parameters=(_APP, Parameter("timeout", "how long to wait for requests under way", example="30s")),
        answers=_OBJECT,
        errors={504: "requests are still under way", **_UNKNOWN},
    ),
    Route(
        "DELETE",
        "/drain",
        "undrain",
        "Let apps into the registry again",
        "Ends a drain.",
        role="admin",
        parameters=(_APP,),
        answers=_OBJECT,
        errors=_UNKNOWN,
    ),
    Route(
        "GET",
        "/maintenance",
        "keptOut",
        "Which apps are kept out of the registry, and why",
        "By name.",
        role="read",
        answers=_OBJECT,
    ),
    Route(
        "PUT",
        "/maintenance",
        "keepOut",
        "Keep apps out of the registry",
        "Until they are let in again, however well they are.",
        role="admin",
        parameters=(_APP, Parameter("reason", "why, for all who look")),
        answers=_OBJECT,
        errors=_UNKNOWN,
    ),
    Route(
        "DELETE",
        "/maintenance",
        "letIn",
        "Let apps into the registry again",
        "Those that are well are registered.",
        role="admin",
        parameters=(_APP,),
        answers=_OBJECT,
        errors=_UNKNOWN,
    ),
    Route(
        "GET",
        "/journal",
        "journal",
        "What came, altered and went in the registry, when and why",
        "The oldest first; of the newest where there are more than `limit`.",
        role="read",
        parameters=(
            Parameter("service", "of one service alone", example="greeter"),
            Parameter("since", "only what is newer: a duration such as 1h, or a date of RFC 3339", example="1h"),
            Parameter("reason", "only what happened for this reason", schema={"enum": list(get_args(Reason))}),
            Parameter(
                "limit", "how many at most; 100 unless given", schema={"type": "integer", "minimum": 1}, example="10"
            ),
        ),
        answers={"application/json": {"type": "array", "items": {"type": "object"}}},
    ),
    Route(
        "GET",
        "/health/live",
        "live",
        "Whether the process answers",
        "Always, when it does.",
        answers=_OBJECT,
    ),
    Route(
        "GET",
        "/health/ready",
        "ready",
        "Whether calls should come",
        "Not while the sidecar stops, or an app is drained, kept out, ill or not checked yet. An engine that is away "
        "is a warning.",
        parameters=(_APP,),
        answers=_OBJECT,
        errors={503: "not ready: the detail says why", **_UNKNOWN},
    ),
)
