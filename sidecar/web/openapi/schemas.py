"""JSON Schemas of what the API takes and gives."""

from __future__ import annotations

from typing import Any, Final

#: Without control characters, and without space around it.
_ENDS: Final = "[^\\x00-\\x20\\x7f-\\xa0\\u2028\\u2029]"
_WITHIN: Final = "[^\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]"
_NAME: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 512,
    "pattern": f"^{_ENDS}(?:{_WITHIN}*{_ENDS})?$",
}
_NAME_OR_NONE: Final = {
    "type": ["string", "null"],
    "maxLength": 512,
    "pattern": f"^(?:{_ENDS}(?:{_WITHIN}*{_ENDS})?)?$",
}
_METADATA: Final = {"type": "object", "additionalProperties": {"type": ["string", "null"]}}

SCHEMAS: Final[dict[str, Any]] = {
    "Error": {
        "type": "object",
        "description": "go-micro's error object",
        "required": ["id", "code", "detail", "status"],
        "properties": {
            "id": {"type": "string", "description": "who speaks"},
            "code": {"type": "integer"},
            "detail": {"type": "string", "description": "what was wrong, where, and what to do"},
            "status": {"type": "string"},
        },
    },
    "Index": {
        "type": "object",
        "required": ["name", "version", "paths"],
        "properties": {
            "name": {"const": "microsidecar"},
            "version": {"type": "string"},
            "paths": {"type": "array", "items": {"type": "string"}},
        },
    },
    "Value": {
        "type": "object",
        "description": "a field of a request or response",
        "properties": {
            "name": {"type": "string"},
            "type": {"type": "string"},
            "values": {"anyOf": [{"type": "array", "items": {"$ref": "#/components/schemas/Value"}}, {"type": "null"}]},
        },
    },
    "Endpoint": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "request": {"anyOf": [{"$ref": "#/components/schemas/Value"}, {"type": "null"}]},
            "response": {"anyOf": [{"$ref": "#/components/schemas/Value"}, {"type": "null"}]},
            "metadata": {"anyOf": [_METADATA, {"type": "null"}]},
        },
    },
    "Node": {
        "type": "object",
        "required": ["id", "address"],
        "properties": {
            "id": {"type": "string"},
            "address": {"type": "string", "description": "a name or an IP literal"},
            "port": {"type": "integer", "minimum": 0, "maximum": 65535},
            "metadata": {"anyOf": [_METADATA, {"type": "null"}]},
        },
    },
    "Service": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "metadata": {"anyOf": [_METADATA, {"type": "null"}]},
            "endpoints": {
                "anyOf": [{"type": "array", "items": {"$ref": "#/components/schemas/Endpoint"}}, {"type": "null"}]
            },
            "nodes": {"anyOf": [{"type": "array", "items": {"$ref": "#/components/schemas/Node"}}, {"type": "null"}]},
        },
    },
    "Services": {"type": "array", "items": {"$ref": "#/components/schemas/Service"}},
    "Registration": {
        "type": "object",
        "description": "A service with at least one node. Keys are read in any case.",
        "required": ["name", "nodes"],
        "properties": {
            "name": _NAME,
            "version": {"type": ["string", "null"], "maxLength": 512},
            "metadata": {"anyOf": [_METADATA, {"type": "null"}]},
            "nodes": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["address", "port"],
                    "properties": {
                        "id": _NAME_OR_NONE,
                        "address": {
                            "type": "string",
                            "minLength": 1,
                            "description": "a host name or an IP literal",
                            "examples": ["127.0.0.1"],
                        },
                        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                        "metadata": {"anyOf": [_METADATA, {"type": "null"}]},
                    },
                },
            },
        },
        "examples": [{"name": "foo", "nodes": [{"id": "foo-1", "address": "127.0.0.1", "port": 9090}]}],
    },
    "Deregistration": {
        "type": "object",
        "required": ["name", "nodes"],
        "properties": {
            "name": _NAME,
            "nodes": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "object", "required": ["id"], "properties": {"id": _NAME}},
            },
        },
        "examples": [{"name": "foo", "nodes": [{"id": "foo-1"}]}],
    },
    "Call": {
        "type": "object",
        "required": ["service", "method", "request"],
        "properties": {
            "service": _NAME,
            "method": {"type": "string", "examples": ["Say.Hello"]},
            "request": {"description": "the payload: a JSON value, or a string that holds JSON"},
            "address": {"type": "string", "description": "host:port of the only node to call"},
            "version": {"type": "string"},
            "timeout": {
                "type": "string",
                "minLength": 1,
                "description": "as the header Timeout",
                "examples": ["300ms"],
            },
            "verb": {
                "enum": ["GET", "POST", "PUT", "PATCH", "DELETE"],
                "description": "for services called by path (method=/user/login): by which method of HTTP",
            },
        },
        "examples": [{"service": "greeter", "method": "Say.Hello", "request": {"name": "John"}}],
    },
    "Health": {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}},
    "Ticket": {
        "type": "object",
        "required": ["ticket", "expires"],
        "properties": {"ticket": {"type": "string"}, "expires": {"type": "string", "format": "date-time"}},
    },
    "Reloaded": {
        "type": "object",
        "required": ["status", "needs_restart"],
        "properties": {
            "status": {"type": "string"},
            "needs_restart": {"type": "array", "items": {"type": "string"}, "description": "what changed in vain"},
        },
    },
    "Stats": {
        "type": "object",
        "required": ["started", "memory", "threads", "gc_pause", "counters"],
        "properties": {
            "started": {"type": "integer"},
            "memory": {"type": "string"},
            "threads": {"type": "integer"},
            "gc_pause": {"type": "string"},
            "counters": {"type": "array", "items": {"type": "object"}},
        },
    },
    "Message": {
        "type": "object",
        "description": "a message as the envelope format frames it",
        "required": ["Header", "Body"],
        "properties": {
            "Header": _METADATA,
            "Body": {"type": "string", "contentEncoding": "base64"},
            "Data": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "the same, as the original's README",
            },
        },
    },
}
