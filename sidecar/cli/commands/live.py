"""Commands that show what passes: ``tap`` for calls, ``top`` for rates."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any
from urllib.parse import urlencode

from sidecar.cli import events, output
from sidecar.cli.api import Failed
from sidecar.cli.exits import UNAVAILABLE
from sidecar.cli.invocation import Invocation, coloured, say

_RED, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"
#: Where a page begins, what ends a line, and what ends the page.
_HOME, _LINE, _PAGE = "\x1b[H", "\x1b[K\n", "\x1b[J"
#: What ``top`` shows of each service at most, without a terminal that is shorter.
_NODES = 50


def tap(invocation: Invocation) -> int:
    """``micro tap``: one line a call."""
    asked = {}
    if invocation.words:
        invocation.need(1, "service name")
        asked["service"] = invocation.words[0]
    if invocation.arguments.given("bodies"):
        asked["bodies"] = "1"
    rate = invocation.arguments.number("rate")
    if rate:
        asked["rate"] = str(rate)
    left = invocation.arguments.number("count") or -1
    form = invocation.arguments.text("output")
    colours = coloured(sys.stdout)
    with invocation.api.stream("/tap" + (f"?{urlencode(asked)}" if asked else "")) as lines:
        for event in events.EventReader(lines):
            if event.name != "call":
                continue
            call = json.loads(event.data)
            if form == "table":
                _write(call_lines(call, colours) + "\n")
            else:
                say(json.dumps(call, ensure_ascii=False) if form == "json" else f"---\n{output.formed(call, form)}")
            left -= 1
            if left == 0:
                return 0
    raise Failed(f"the sidecar at {invocation.api.address} ended the tap", code=UNAVAILABLE)


def call_lines(call: dict[str, Any], colours: bool) -> str:
    """:param call: as ``/tap`` tells it. :returns: it for people: in one line, and one more for each body shown."""
    outcome = str(call.get("outcome", ""))
    where = f"{call.get('node', '')} {call.get('address', '')}".strip() or "-"
    parts = [
        f"{call.get('service', '')} {call.get('method', '')}",
        where,
        f"{call.get('total_ms') or 0:.1f} ms",
        outcome,
    ]
    first, second, third, last = map(_line, parts)
    lines = [f"{first}  {second}  {third}  {_painted(last, _GREEN if outcome == 'answered' else _RED, colours)}"]
    if call.get("error"):
        lines[0] += f"  {_line(str(call['error']))}"
    if call.get("skipped"):
        lines.insert(0, _painted(f"({call['skipped']} calls were not shown)", _DIM, colours))
    lines += [f"  {name}: {_body(call[name])}" for name in ("request", "reply") if call.get(name)]
    return "\n".join(lines)


def _body(shown: dict[str, Any]) -> str:
    text = shown["text"] if "text" in shown else f"base64 {shown.get('base64', '')}"
    return _line(text) + (" ..." if shown.get("truncated") else "")


def top(invocation: Invocation) -> int:
    """``micro top``: a page that refreshes; without a terminal, one page after the other."""
    left = invocation.arguments.number("count") or -1
    terminal = sys.stdout.isatty()
    with invocation.api.stream("/live") as lines:
        for event in events.EventReader(lines):
            if event.name != "live":
                continue
            text = page(json.loads(event.data), coloured(sys.stdout))
            if terminal:
                size = shutil.get_terminal_size()
                shown = [fitting(line, size.columns) for line in text.splitlines()[: size.lines - 1]]
                text = f"{_HOME}{_LINE.join(shown)}{_LINE}{_PAGE}"
            else:
                text += "\n\n"
            _write(text)
            left -= 1
            if left == 0:
                return 0
    raise Failed(f"the sidecar at {invocation.api.address} ended the stream", code=UNAVAILABLE)


def page(live: dict[str, Any], colours: bool = False) -> str:
    """:param live: what ``/live`` tells. :returns: rates in all, then services and their nodes, busiest first."""
    by_service: dict[str, list[dict[str, Any]]] = {}
    for node in live.get("nodes") or []:
        by_service.setdefault(str(node.get("service", "")), []).append(node)
    rows: list[list[str]] = []
    whys: list[str] = []
    for service in live.get("services") or []:
        name, success = str(service.get("name", "")), service.get("success")
        share = "-" if success is None else f"{100 * success:.1f}%"
        nodes = f"{service.get('nodes_up', 0)} up, {service.get('nodes_down', 0)} down"
        rows.append([_line(name), *_rates(service, share), nodes])
        whys.append("")
        for node in by_service.get(name, [])[:_NODES]:
            told = _line(f"  {node.get('id', '')} {node.get('address', '')}")
            rows.append([told, *_rates(node, ""), ""])
            whys.append(_line(str(node.get("why") or "")))
    head = ("SERVICE", "CALLS/S", "ERRORS/S", "SUCCESS", "P95 MS", "IN FLIGHT", "NODES")
    rates, latency, process = (live.get(name) or {} for name in ("rates", "latency_ms", "process"))
    first = (
        f"{live.get('at', '')}  {rates.get('calls') or 0:.1f} calls/s, {rates.get('errors') or 0:.1f} errors/s, "
        f"half within {_ms(latency.get('p50'))} ms, 99% within {_ms(latency.get('p99'))} ms, "
        f"{live.get('in_flight') or 0} in flight, CPU {100 * (process.get('cpu') or 0):.0f}%, "
        f"{(process.get('memory') or 0) / 1048576:.0f} MiB"
    )
    table = output.columns(head, rows).splitlines()
    # Painted last: colours have no width.
    lines = [table[0]]
    for line, why in zip(table[1:], whys, strict=True):
        lines += [_painted(part, _RED, colours) for part in (line, f"    {why}")] if why else [line]
    return "\n".join([_painted(first, _DIM, colours), "", *lines])


def fitting(line: str, columns: int) -> str:
    """:returns: the line cut to the width of a terminal, its colours apart."""
    if not line.startswith("\x1b"):
        return line[:columns]
    start, text = line[: line.index("m") + 1], line[line.index("m") + 1 :].removesuffix(_PLAIN)
    return f"{start}{text[:columns]}{_PLAIN}"


def _rates(one: dict[str, Any], success: str) -> list[str]:
    calls, errors = (f"{one.get(name) or 0:.1f}" for name in ("calls", "errors"))
    return [calls, errors, success, _ms(one.get("p95_ms")), str(one.get("in_flight") or 0)]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _painted(text: str, colour: str, colours: bool) -> str:
    return f"{colour}{text}{_PLAIN}" if colours and text else text


def _line(text: str) -> str:
    """:returns: ``text`` on one line, with nothing that a terminal would obey."""
    return output.visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _write(text: str) -> None:
    """Print what is fit for the terminal already."""
    sys.stdout.write(text)
    sys.stdout.flush()
