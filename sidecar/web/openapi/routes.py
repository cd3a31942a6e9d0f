"""The one table of routes: every path with its methods, parameters, bodies, errors and the role that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar.web.openapi.calls import CALLS
from sidecar.web.openapi.operations import OPERATIONS
from sidecar.web.openapi.registry import REGISTRY, UNAVAILABLE
from sidecar.web.openapi.route import NAME, TEXT, VERSION, Parameter, Route, ref

_ANY: Final[Mapping[str, Any]] = {}
_TOPIC = Parameter("topic", "the topic", required=True, schema={**TEXT, "minLength": 1}, example="news")
#: What any route can answer.
COMMON_ERRORS: Final[Mapping[int, str]] = {
    400: "the request is malformed: the detail names the field",
    401: "a token or certificate is needed, or the one given is not good",
    403: "the caller may not do this, or comes from a page of another origin",
    413: "the body is longer than --max_body allows",
    415: "the content type or encoding is not read here",
    421: "the Host is not one that this sidecar answers for",
    429: "too many requests, connections or failed attempts to be admitted",
    431: "the header is longer than --max_header allows",
    500: "a fault of the sidecar; the detail names an incident that its log tells more of",
    503: "overloaded or stopping: try again after Retry-After",
}

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        "/",
        "index",
        "What there is",
        "Name, version and the paths that are served.",
        role="read",
        answers={"application/json": ref("Index")},
    ),
    *REGISTRY,
    *CALLS,
    Route(
        "GET",
        "/broker",
        "subscribe",
        "Subscribe to a topic over a WebSocket, and publish to it",
        "Every frame that comes is published; every message of the topic goes out as a frame.",
        role="subscribe",
        parameters=(
            _TOPIC,
            Parameter("queue", "share the messages with others of this name", schema=NAME),
            Parameter("format", "how messages are framed", schema={"enum": ["envelope", "text", "raw", "json"]}),
        ),
        errors={426: "it is a WebSocket: send an upgrade", **UNAVAILABLE},
        websocket=True,
    ),
    Route(
        "POST",
        "/broker",
        "publish",
        "Publish a message",
        "Answers 200 only when the broker took the message. Request headers become the message's.",
        role="publish",
        parameters=(_TOPIC,),
        bodies={"*/*": {"type": "string", "format": "binary"}},
        errors=UNAVAILABLE,
        needs_body=False,
    ),
    Route(
        "GET",
        "/health",
        "health",
        "How the app is, else the sidecar",
        "By the last checks. Where no app is checked the sidecar's own state. Of several apps each is listed, and"
        " one that is ill makes the whole so.",
        parameters=(Parameter("app", "only this app, by the name of its service", schema=NAME, example="shop"),),
        answers={"application/json": ref("Health")},
        errors={
            404: "no app of that name is beside the sidecar",
            503: "the app is not healthy, or was not checked yet; it can be the app's own error status",
        },
    ),
    *(
        Route(
            method,
            "/check/{name}/{state}",
            f"heartbeat{method.capitalize()}",
            "Say how an app is",
            "A heartbeat for a check of the kind ttl. The body is a note for people.",
            role="register",
            parameters=(
                Parameter("name", "the name of the check", True, NAME, "path", "shop worker"),
                Parameter("state", "how the app is", True, {"enum": ["pass", "warn", "fail"]}, "path", "pass"),
            ),
            bodies={"text/plain": {"type": "string"}},
            answers={"application/json": ref("Health")},
            errors={404: "no check of that name waits for heartbeats", 413: "the note is longer than 4096 bytes"},
            needs_body=False,
        )
        for method in ("PUT", "POST")
    ),
    Route(
        "POST",
        "/reload",
        "reload",
        "Read the files again",
        "As at a SIGHUP: apps, checks, certificates and log levels change without dropping a connection.",
        role="admin",
        answers={"application/json": ref("Reloaded")},
        errors={400: "something in the files is no good: the detail says where, and nothing has changed"},
    ),
    Route(
        "POST",
        "/ticket",
        "ticket",
        "A ticket for a browser's WebSocket",
        "Stands for whoever shows a token or certificate here; good once, within a minute, as `?ticket=` of a GET.",
        answers={"application/json": ref("Ticket")},
        errors={404: "callers show nothing here: neither --auth_tokens nor --auth_roles is given"},
        needs_body=False,
    ),
    Route(
        "GET",
        "/stats",
        "stats",
        "Numbers as JSON, or the dashboard",
        "JSON for those that accept it, the page for all others. The page holds nothing of this sidecar's: a browser "
        "gets it without a token, and it asks for one. Served with --enable_stats.",
        role="read",
        answers={"application/json": ref("Stats"), "text/html": {"type": "string"}},
        errors={404: "--enable_stats is not given"},
    ),
    Route(
        "GET",
        "/stats/{asset}",
        "dashboard",
        "What the dashboard is made of",
        "Scripts and styles, the same for everybody. Served with --enable_stats.",
        parameters=(Parameter("asset", "the path of a file", True, NAME, "path", "style.css"),),
        answers={"text/javascript": {"type": "string"}, "text/css": {"type": "string"}},
        errors={404: "there is no such file, or --enable_stats is not given"},
    ),
    *OPERATIONS,
    Route(
        "GET",
        "/metrics",
        "metrics",
        "Metrics for Prometheus",
        "Prometheus' text form, or OpenMetrics to those who accept it.",
        role="read",
        answers={"text/plain": {"type": "string"}, "application/openmetrics-text": {"type": "string"}},
    ),
    Route(
        "GET",
        "/explain",
        "explain",
        "Which nodes would be called now, and why not the others",
        "Of each node whether it is chosen, its weight and share, why it is not chosen, where and when it was learnt, "
        "and how the last attempt that failed went; and what a call costs.",
        role="read",
        parameters=(Parameter("service", "the name of a service", required=True, schema=NAME), VERSION),
        answers={"application/json": {"type": "object"}},
        errors={404: "there is no such service, or it has no node", **UNAVAILABLE},
    ),
    Route(
        "GET",
        "/openapi.json",
        "openapi",
        "This document",
        "OpenAPI 3.1.",
        role="read",
        answers={"application/json": {"type": "object"}},
    ),
    Route(
        "GET",
        "/asyncapi.json",
        "asyncapi",
        "The WebSockets",
        "AsyncAPI 3.0.",
        role="read",
        answers={"application/json": {"type": "object"}},
    ),
)


def on(path: str) -> tuple[Route, ...]:
    """:returns: the routes of a path, one a method."""
    return tuple(route for route in ROUTES if route.path == path)
