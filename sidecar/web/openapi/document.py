"""The OpenAPI and AsyncAPI documents, made from the table of routes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from sidecar import __version__
from sidecar.web.openapi.route import Parameter, Route
from sidecar.web.openapi.routes import COMMON_ERRORS, ROUTES
from sidecar.web.openapi.schemas import SCHEMAS

_INFO = {
    "title": "microsidecar",
    "version": __version__,
    "description": "Joins any application to the Micro (go-micro) ecosystem over HTTP and WebSockets.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def openapi() -> dict[str, Any]:
    """:returns: the OpenAPI 3.1 document. :source: OpenAPI Specification 3.1.0."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "where --auth_tokens is given"},
                "header": {"type": "apiKey", "in": "header", "name": "Micro-Sidecar-Token"},
            },
        },
    }


def asyncapi() -> dict[str, Any]:
    """:returns: the AsyncAPI 3.0 document of the WebSockets. :source: AsyncAPI Specification 3.0.0."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for route in (route for route in ROUTES if route.websocket or route.upgrades):
        query = {each.name: {**each.schema, "description": each.description} for each in route.parameters}
        required = [each.name for each in route.parameters if each.required]
        channels[route.operation] = {
            "address": route.path,
            "title": route.summary,
            "description": route.description,
            "bindings": {
                "ws": {"method": "GET", "query": {"type": "object", "properties": query, "required": required}}
            },
            "messages": {"frame": {"$ref": "#/components/messages/frame"}},
        }
        channel = {"$ref": f"#/channels/{route.operation}"}
        for action in ("send", "receive") if route.websocket else ("receive",):
            operations[f"{route.operation}.{action}"] = {"action": action, "channel": channel, "summary": route.summary}
    return {
        "asyncapi": "3.0.0",
        "info": {name: value for name, value in _INFO.items() if name != "license"},
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {
                "frame": {"title": "a text or binary frame", "payload": {"$ref": "#/components/schemas/Message"}}
            },
            "schemas": SCHEMAS,
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": route.description
        + (f" Needs the role `{route.role}` where callers have roles." if route.role else ""),
        "parameters": [_parameter(each) for each in route.parameters],
        "responses": _responses(route),
    }
    if route.role:
        told["security"] = [{}, {"token": []}, {"header": []}]
        told["x-role"] = route.role
    if route.bodies:
        content = {media: {"schema": dict(schema)} for media, schema in route.bodies.items()}
        told["requestBody"] = {"required": route.needs_body, "content": content}
    return told


def _parameter(parameter: Parameter) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.required,
        "schema": dict(parameter.schema),
    }
    if parameter.example:
        told["example"] = parameter.example
    return told


def _responses(route: Route) -> dict[str, Any]:
    if route.websocket:
        found: dict[str, Any] = {"101": {"description": "the WebSocket is open; see /asyncapi.json"}}
    else:
        good: dict[str, Any] = {"description": "it worked"}
        if route.answers:
            good["content"] = {media: {"schema": dict(schema)} for media, schema in route.answers.items()}
        found = {str(route.status): good}
        if route.upgrades:
            found["101"] = {"description": "the WebSocket is open; see /asyncapi.json"}
    for status, when in sorted({**COMMON_ERRORS, **route.errors}.items()):
        found[str(status)] = {"description": f"{HTTPStatus(status).phrase}: {when}", "content": _ERROR}
    found["default"] = {"description": "an error, whatever its status", "content": _ERROR}
    return found
