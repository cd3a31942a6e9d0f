"""The routes of those who run a sidecar: draining, maintenance, readiness."""

from __future__ import annotations

from typing import Any, Final, get_args

from sidecar.model import Reason
from sidecar.web.openapi.route import DATE, DURATION, Parameter, Route

_OBJECT: Final[dict[str, Any]] = {"application/json": {"type": "object"}}
_APP: Final = Parameter("app", "the app, where there are several")
_COUNT: Final = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
_UNKNOWN: Final = {404: "no app of that name is beside this sidecar"}

OPERATIONS: Final[tuple[Route, ...]] = (
    Route(
        "POST",
        "/drain",
        "drain",
        "Take apps out of the registry, and tell when it is safe to stop",
        "Waits --drain_delay for the news to spread, then for requests under way.",
        role="admin",
        parameters=(
            _APP,
            Parameter("timeout", "how long to wait for requests under way", schema=DURATION, example="30s"),
        ),
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
            Parameter(
                "since",
                "only what is newer: a duration such as 1h, or a date of RFC 3339",
                schema={"anyOf": [DURATION, DATE]},
                example="1h",
            ),
            Parameter("reason", "only what happened for this reason", schema={"enum": list(get_args(Reason))}),
            Parameter(
                "limit",
                "how many at most; 100 unless given",
                schema=_COUNT,
                example="10",
            ),
        ),
        answers={"application/json": {"type": "array", "items": {"type": "object"}}},
    ),
    Route(
        "GET",
        "/live",
        "rates",
        "What happens now, once a second",
        "Server-Sent Events: each second an event `live`, whose data is JSON: calls and errors a second, latencies of "
        "the last ten seconds, HTTP answers by class, the process, and the busiest services (100 at most), their nodes "
        "(1,000 at most, those that fail first), topics (100), engines and apps. With `history=1` an event `history` "
        "comes first: arrays of the last hour, one value for each ten seconds.",
        role="read",
        parameters=(Parameter("history", "whether the last hour comes first", schema={"enum": ["0", "1"]}),),
        answers={"text/event-stream": {"type": "string"}},
    ),
    Route(
        "GET",
        "/tap",
        "tap",
        "Calls as they end",
        "Server-Sent Events: an event `call` for each call, whose data is JSON with its receipt. Beyond `rate` calls a "
        "second are skipped, and counted in the `skipped` of the next one shown; failed ones have as many places of "
        "their own. Bodies are shown to administrators, up to 4 KiB each.",
        role="read",
        parameters=(
            Parameter("service", "calls of one service alone", example="greeter"),
            Parameter("bodies", "whether bodies are shown; takes the role `admin`", schema={"enum": ["0", "1"]}),
            Parameter(
                "rate",
                "calls a second at most; 50 unless given, 1000 at most",
                schema={"type": "integer", "minimum": 1},
                example="10",
            ),
        ),
        answers={"text/event-stream": {"type": "string"}},
    ),
    Route(
        "GET",
        "/errors",
        "failures",
        "The last calls that failed",
        "The newest first, 200 at most, each with its receipt.",
        role="read",
        parameters=(
            Parameter("service", "of one service alone", example="greeter"),
            Parameter("limit", "how many at most", schema=_COUNT, example="10"),
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
