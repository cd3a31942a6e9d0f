"""Commands about what came and went in the registry: ``log`` and ``watch``."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from sidecar.cli import events, output
from sidecar.cli.api import Failed
from sidecar.cli.invocation import Invocation, complain, say

_DEEDS = {"create": "came", "update": "changed", "delete": "left"}


def log(invocation: Invocation) -> int:
    """``micro log``: the journal in words, oldest first."""
    asked = {name: invocation.arguments.text(name) for name in ("since", "reason", "limit")}
    if invocation.words:
        invocation.need(1, "service name")
        asked["service"] = invocation.words[0]
    query = urlencode({name: value for name, value in asked.items() if value})
    entries = invocation.api.read_json("GET", "/journal" + (f"?{query}" if query else ""))
    if not isinstance(entries, list):
        entries = entries.get("entries", []) if isinstance(entries, dict) else []
    return invocation.show(entries, "\n".join(in_words(entry) for entry in entries))


def watch(invocation: Invocation) -> int:
    """``micro watch``: each change in words as it happens; ``--count`` ends it."""
    query = ""
    if invocation.words:
        invocation.need(1, "service name")
        query = f"?{urlencode({'service': invocation.words[0]})}"
    left = invocation.arguments.number("count") or -1
    form = invocation.arguments.text("output")
    with invocation.api.stream(f"/registry/watch{query}") as answer:
        for event in events.read(events.lines(answer)):
            entry = json.loads(event.data)
            if event.name == "reset":
                complain("the whole state is sent anew: what happened before is not known", code=0)
            elif form == "table":
                say(in_words(entry))
            else:
                say(json.dumps(entry, ensure_ascii=False) if form == "json" else f"---\n{output.formed(entry, form)}")
            left -= event.name != "reset"
            if left == 0:
                return 0
    raise Failed(f"the sidecar at {invocation.api.address} ended the watch", code=4)


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
