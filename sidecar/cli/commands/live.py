"""Commands that show what passes: ``tap`` for calls, ``top`` for rates."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any
from urllib.parse import urlencode

from sidecar.cli import events, output
from sidecar.cli.api import Failed
from sidecar.cli.invocation import Invocation, coloured, say

_RED, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"
_HOME, _CLEAR = "\x1b[H", "\x1b[J"


def tap(invocation: Invocation) -> int:
    """``micro tap``: one line a call: service, method, node, milliseconds, outcome."""
    query = ""
    if invocation.words:
        invocation.need(1, "service name")
        query = f"?{urlencode({'service': invocation.words[0]})}"
    left = invocation.arguments.number("count") or -1
    form = invocation.arguments.text("output")
    colours = coloured(sys.stdout)
    with invocation.api.stream(f"/tap{query}") as answer:
        for event in events.read(events.lines(answer)):
            if event.name != "call":
                continue
            call = json.loads(event.data)
            if form == "table":
                say(call_line(call, colours))
            else:
                say(json.dumps(call, ensure_ascii=False) if form == "json" else f"---\n{output.formed(call, form)}")
            left -= 1
            if left == 0:
                return 0
    raise Failed(f"the sidecar at {invocation.api.address} ended the tap", code=4)


def call_line(call: dict[str, Any], colours: bool) -> str:
    """:param call: as ``/tap`` tells it. :returns: it in one line for people."""
    outcome = str(call.get("outcome", ""))
    where = f"{call.get('node', '')} {call.get('address', '')}".strip() or "-"
    shown = _painted(outcome, _GREEN if outcome == "answered" else _RED, colours)
    total = call.get("total_ms", 0)
    return f"{call.get('service', '')} {call.get('method', '')}  {where}  {total:.1f} ms  {shown}"


def top(invocation: Invocation) -> int:
    """``micro top``: a page that refreshes; without a terminal, one page after the other."""
    left = invocation.arguments.number("count") or -1
    terminal = sys.stdout.isatty()
    with invocation.api.stream("/live") as answer:
        for event in events.read(events.lines(answer)):
            if event.name not in ("live", "message"):
                continue
            text = page(json.loads(event.data), coloured(sys.stdout))
            if terminal:
                size = shutil.get_terminal_size()
                text = "\n".join(line[: size.columns + 20] for line in text.splitlines()[: size.lines - 1])
                sys.stdout.write(f"{_HOME}{text.replace(chr(10), chr(27) + '[K' + chr(10))}{chr(27)}[K{_CLEAR}")
                sys.stdout.flush()
            else:
                say(text + "\n")
            left -= 1
            if left == 0:
                return 0
    raise Failed(f"the sidecar at {invocation.api.address} ended the stream", code=4)


def page(live: dict[str, Any], colours: bool = False) -> str:
    """:param live: what ``/live`` tells. :returns: rates in all, then services and their nodes, busiest first."""

    def rates(one: dict[str, Any]) -> list[str]:
        return [
            f"{one.get('calls_per_s') or 0:.1f}",
            f"{one.get('errors_per_s') or 0:.1f}",
            *(f"{one[name]:.1f}" if one.get(name) is not None else "-" for name in ("p50_ms", "p95_ms")),
            str(one.get("in_flight") or 0),
        ]

    rows: list[list[str]] = []
    for service in sorted(live.get("services") or [], key=lambda one: -(one.get("calls_per_s") or 0)):
        rows.append([str(service.get("name", "")), *rates(service), ""])
        for node in service.get("nodes") or []:
            name = f"  {node.get('id', '')} {node.get('address', '')}"
            rows.append([name, *rates(node), _painted(str(node.get("why") or ""), _RED, colours)])
    head = ("SERVICE", "CALLS/S", "ERRORS/S", "P50 MS", "P95 MS", "IN FLIGHT", "WHY NOT")
    first = _painted(
        f"{live.get('at', '')}  {live.get('calls_per_s') or 0:.1f} calls/s, "
        f"{live.get('errors_per_s') or 0:.1f} errors/s, {live.get('in_flight') or 0} in flight",
        _DIM,
        colours,
    )
    return f"{first}\n\n{output.columns(head, rows)}"


def _painted(text: str, colour: str, colours: bool) -> str:
    return f"{colour}{text}{_PLAIN}" if colours and text else text
