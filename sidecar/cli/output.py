"""What the client commands print, as the original printed it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.wire import durations

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)

#: Control characters, but tab, newline and the sequences that colour: JSON's escapes, so that JSON stays JSON.
_CONTROL = re.compile(r"(?!\x1b\[[0-9;]*m)[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    """:returns: ``text`` without anything that a terminal would obey: names and metadata come from anybody."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def names(listed: Sequence[Any]) -> str:
    """One name a line, sorted."""
    found = {one if isinstance(one, str) else str(_of(one, "name", "")) for one in listed}
    return "\n".join(sorted(found))


def indented(text: str) -> str:
    """JSON text indented with tabs, every number and string exactly as it was; other text unchanged.

    :source: Go ``encoding/json.Indent``.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    out: list[str] = []
    depth, before = 0, ""
    for part in _PART.findall(text):
        closes = part in ("]", "}")
        if closes:
            depth -= 1
        if (before in ("[", "{") and not closes) or before == "," or (closes and before not in ("[", "{")):
            out.append("\n" + "\t" * depth)
        out.append(": " if part == ":" else part)
        if part in ("[", "{"):
            depth += 1
        before = part
    return "".join(out)


def described(versions: Sequence[Mapping[str, Any]]) -> str:
    """A service: its versions with their nodes, then its endpoints."""
    lines = [f"service  {_of(versions[0], 'name', '')}"]
    for version in versions:
        lines += [f"\nversion {_of(version, 'version', '')}", "\nId\tAddress\tPort\tMetadata"]
        for node in _of(version, "nodes", []):
            host, port = place(node)
            lines.append(f"{_of(node, 'id', '')}\t{host}\t{port}\t{_metadata(node)}")
    for endpoint in _of(versions[0], "endpoints", []):
        lines.append(f"\nEndpoint: {_of(endpoint, 'name', '')}\nMetadata: {_metadata(endpoint)}\n")
        request, response = (_fields(_of(endpoint, name, {})) for name in ("request", "response"))
        lines.append(f"Request: {request}\n\nResponse: {response}\n")
    return "\n".join(lines)


def place(node: Mapping[str, Any]) -> tuple[str, int]:
    """:returns: host and port of a node, whether it gives them apart or joined."""
    host, port = str(_of(node, "address", "")), int(_of(node, "port", 0))
    joined = re.fullmatch(r"(\[.*\]|[^:]*):([0-9]+)", host)
    return (joined[1], int(joined[2])) if joined and not port else (host, port)


def joined(node: Mapping[str, Any]) -> str:
    """:returns: ``host:port`` of a node, an IPv6 literal in brackets."""
    host, port = place(node)
    bare = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{bare}:{port}" if port else bare


def health_line(node: Mapping[str, Any], status: str) -> str:
    return f"{_of(node, 'id', '')}\t\t{joined(node)}\t\t{status}"


def stats_line(node: Mapping[str, Any], stats: Mapping[str, Any]) -> str:
    """A row of ``micro stats``; the numbers may come as strings, as protobuf's JSON writes 64 bits."""
    started, uptime, memory, threads, gc = (
        int(_of(stats, name, 0)) for name in ("started", "uptime", "memory", "threads", "gc")
    )
    since = time.localtime(started)
    when = f"{time.strftime('%b', since)} {since.tm_mday} {time.strftime('%H:%M:%S', since)}"
    return (
        f"{_of(node, 'id', '')}\t\t{joined(node)}\t\t{when}\t{durations.format(uptime)}"
        f"\t{memory / 1048576:.2f}mb\t{threads}\t{durations.format(gc / 1e9)}"
    )


def _of(value: Any, name: str, default: Any) -> Any:
    """A key of a JSON object, spelled ``name`` or ``Name`` (as Go without tags does); null counts as absent."""
    found = value.get(name, value.get(name.capitalize())) if isinstance(value, Mapping) else None
    return default if found is None else found


def _metadata(value: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={text}" for key, text in sorted(_of(value, "metadata", {}).items()))


def _fields(value: Mapping[str, Any]) -> str:
    inner = _of(value, "values", [])
    return "{\n" + "".join(_field(one, 1) for one in inner) + "}" if inner else "{}"


def _field(value: Mapping[str, Any], depth: int) -> str:
    head = "\t" * depth + f"{_snake(_of(value, 'name', ''))} {_of(value, 'type', '')}"
    inner = _of(value, "values", [])
    if not inner or depth > 32:
        return head + "\n"
    return head + " {\n" + "".join(_field(one, depth + 1) for one in inner) + "\t" * depth + "}\n"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def formed(data: Any, form: str) -> str:
    """:param form: ``json`` or ``yaml``. :returns: ``data`` for a program to read, without a newline at its end."""
    if form == "json":
        return json.dumps(data, indent=2, ensure_ascii=False)
    return "\n".join(_yaml(data, 0))


def columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """:returns: a table for people: each column as wide as its widest cell, two spaces between."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def _yaml(value: Any, depth: int) -> list[str]:
    """JSON-like data in block style. Strings are written as JSON writes them, which YAML 1.2 reads alike."""
    pad = "  " * depth
    if isinstance(value, Mapping) and value:
        lines = []
        for key, inner in value.items():
            name = f"{pad}{json.dumps(str(key), ensure_ascii=False)}:"
            lines += _nested(name, inner, depth)
        return lines
    if isinstance(value, (list, tuple)) and value:
        lines = []
        for inner in value:
            nested = _yaml(inner, depth + 1)
            lines += [f"{pad}- {nested[0].lstrip()}", *nested[1:]]
        return lines
    return [pad + json.dumps(value, ensure_ascii=False)]


def _nested(name: str, inner: Any, depth: int) -> list[str]:
    if isinstance(inner, (Mapping, list, tuple)) and inner:
        return [name, *_yaml(inner, depth + 1)]
    return [f"{name} {json.dumps(inner, ensure_ascii=False)}"]
