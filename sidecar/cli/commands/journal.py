"""``micro log`` and ``micro watch``: what came and went in the registry, and what does."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any
from urllib.parse import urlencode

from sidecar.cli import output
from sidecar.cli.api import Failed
from sidecar.cli.arguments import Wrong
from sidecar.cli.events import Event, follow
from sidecar.cli.exits import NOT_FOUND, UNAVAILABLE
from sidecar.cli.invocation import Invocation, complain, say
from sidecar.wire import durations

#: How a date begins.
_DATE = re.compile(r"\d{4}-")
_DEEDS = {"create": "came", "update": "changed", "delete": "left"}


def log(invocation: Invocation) -> int:
    """``micro log``: the journal in words, oldest first."""
    asked = {name: invocation.arguments.text(name) for name in ("since", "reason", "limit")}
    asked["since"] = _since(asked["since"])
    if invocation.words:
        invocation.need(1, "service name")
        asked["service"] = invocation.words[0]
    query = urlencode({name: value for name, value in asked.items() if value})
    entries = invocation.api.read_json("GET", "/journal" + (f"?{query}" if query else ""))
    shown = invocation.show(entries, "\n".join(in_words(entry) for entry in entries))
    if entries or "service" not in asked:
        return shown
    name = asked["service"]
    if asked["since"] or asked["reason"]:
        return complain(f"the journal has nothing like that about {name}", code=shown)
    return complain(f"the journal has nothing about {name}, as far as it goes back", code=NOT_FOUND)


def _since(text: str) -> str:
    """:returns: as the sidecar reads it, which knows no days. :raises Wrong: it is neither a date nor a time ago."""
    if not text or _DATE.match(text):
        return text
    try:
        return f"{durations.with_days(text):.0f}s"
    except ValueError:
        raise Wrong(f"--since={text}: write a date like 2026-11-25T03:00:00Z, or a time like 1h or 7d") from None


def watch(invocation: Invocation) -> int:
    """``micro watch``: each change as it happens; ``--count`` ends it, ``--follow`` goes on after a broken connection
    where it was."""
    query = ""
    if invocation.words:
        invocation.need(1, "service name")
        query = f"?{urlencode({'service': invocation.words[0]})}"
    given = invocation.arguments
    show = partial(_show, given.text("output"))
    if follow(invocation.api, f"/registry/watch{query}", show, given.number("count"), given.given("follow")):
        return 0
    raise Failed(f"the sidecar at {invocation.api.address} ended the watch", code=UNAVAILABLE)


def _show(form: str, event: Event) -> bool:
    """Print an event. :returns: whether it counts as a change."""
    entry = json.loads(event.data)
    if event.name == "reset":
        entry = {"action": "reset", **entry}
        if form == "table":
            complain("what happened before is not known any more: micro list and micro get tell what there is", code=0)
            return False
    if form == "table":
        say(in_words(entry))
    else:
        say(json.dumps(entry, ensure_ascii=False) if form == "json" else f"---\n{output.formed(entry, form)}")
    return event.name != "reset"


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
