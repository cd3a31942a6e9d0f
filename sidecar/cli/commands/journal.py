"""``micro log``: what came and went in the registry."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from sidecar.cli import output
from sidecar.cli.invocation import Invocation

_DEEDS = {"create": "came", "update": "changed", "delete": "left"}


def log(invocation: Invocation) -> int:
    """``micro log``: the journal in words, oldest first."""
    asked = {name: invocation.arguments.text(name) for name in ("since", "reason", "limit")}
    if invocation.words:
        invocation.need(1, "service name")
        asked["service"] = invocation.words[0]
    query = urlencode({name: value for name, value in asked.items() if value})
    entries = invocation.api.read_json("GET", "/journal" + (f"?{query}" if query else ""))
    return invocation.show(entries, "\n".join(in_words(entry) for entry in entries))


def in_words(entry: dict[str, Any]) -> str:
    """:param entry: of the journal. :returns: one line a node: when, what, why, by whom."""
    service = entry.get("service") or {}
    deed = _DEEDS.get(str(entry.get("action")), str(entry.get("action")))
    why = "; ".join(filter(None, (str(entry.get("reason") or ""), str(entry.get("detail") or ""))))
    by = entry.get("by")
    lines = []
    for node in service.get("nodes") or [{}]:
        who = " ".join(filter(None, (str(service.get("name", "")), str(service.get("version") or ""))))
        place = f"{node.get('id', '')} at {output.joined(node)}" if node else ""
        lines.append(f"{entry.get('at', '')}  {who}  {place} {deed}: {why}" + (f" (by {by})" if by else ""))
    return "\n".join(lines)
