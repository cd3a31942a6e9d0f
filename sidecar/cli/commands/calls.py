"""Commands that call services: ``call``, and ``health`` and ``stats`` of every node."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from sidecar.cli import output
from sidecar.cli.api import Failed
from sidecar.cli.arguments import Wrong
from sidecar.cli.commands.services import described
from sidecar.cli.invocation import Invocation, complain, say

#: How services of several languages say that they have no such method; one that knows no better ends the connection.
_ABSENT = re.compile(
    "can.?t find|unknown|not found|no such|(not |un)implemented|no method|undefined|closed before the answer",
    re.IGNORECASE,
)


def call(invocation: Invocation) -> int:
    """``micro call``: prints what the service answered; its error goes to standard error, whole."""
    invocation.need(2, "service and method")
    service, method, *request = invocation.words
    asked = {"service": service, "method": method, "request": " ".join(request) or "{}"}
    version = invocation.arguments.text("service_version")
    if version:
        asked["version"] = version
    headers = dict(_header(one) for one in invocation.arguments.every("metadata"))
    explain = invocation.arguments.given("explain")
    if explain:
        headers["Micro-Explain"] = "1"
    try:
        answer = invocation.api.call(asked, headers=headers)
    except Failed as error:
        if explain and error.receipt:
            complain(receipt(error.receipt), bare=True)
        # The whole error: its code and id say which side it came from.
        whole = error.body.startswith("{")
        return complain(output.indented(error.body.rstrip("\n")) if whole else str(error), bare=whole, code=error.code)
    if explain and "micro-receipt" in answer.headers:
        complain(receipt(answer.headers["micro-receipt"]), bare=True)
    if invocation.arguments.text("output") == "yaml":
        return say(output.formed(json.loads(answer.text), "yaml"))
    return say(output.indented(answer.text.rstrip("\n")))


def receipt(text: str) -> str:
    """:param text: a receipt, JSON. :returns: it as a table for people: each attempt, then the whole."""
    try:
        told = json.loads(text)
        rows = [
            (
                attempt.get("node", ""),
                attempt.get("address", ""),
                f"{attempt.get('queued_ms', 0):g}",
                f"{attempt.get('connect_ms', 0):g}",
                f"{attempt.get('wait_ms', 0):g}",
                attempt.get("outcome", ""),
                attempt.get("next", ""),
            )
            for attempt in told["attempts"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"receipt: {text}"
    head = ("NODE", "ADDRESS", "QUEUED MS", "CONNECT MS", "WAIT MS", "OUTCOME", "NEXT")
    left_out = told.get("attempts_omitted")
    return "\n".join(
        [
            f"{told.get('service', '')} {told.get('method', '')}  {told.get('total_ms', 0):g} ms"
            f" of {told.get('deadline_ms', 0):g} ms, {told.get('strategy', '')}, id {told.get('id', '')}",
            *([f"({left_out} earlier attempts are not shown)"] if left_out else []),
            output.columns(head, rows),
        ]
    )


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not all(33 <= ord(letter) < 127 for letter in name):
        raise Wrong(f"--metadata={text}: write NAME=VALUE")
    return name, value


def health(invocation: Invocation) -> int:
    """``micro health``: asks every node for its Debug.Health."""

    def line(node: dict[str, Any], answer: dict[str, Any]) -> str:
        return output.health_line(node, str(answer.get("status", "")))

    return _each_node(invocation, "Debug.Health", "node\t\taddress:port\t\tstatus", line)


def stats(invocation: Invocation) -> int:
    """``micro stats``: asks every node for its Debug.Stats."""
    head = "node\t\taddress:port\t\tstarted\tuptime\tmemory\tthreads\tgc"
    return _each_node(invocation, "Debug.Stats", head, output.stats_line)


def _each_node(
    invocation: Invocation, method: str, head: str, line: Callable[[dict[str, Any], dict[str, Any]], str]
) -> int:
    """Ask every node by itself. One that fails has its error in its row, and gives the exit code."""
    invocation.need(1, "service name")
    versions = described(invocation, invocation.words[0])
    name, code = str(versions[0].get("name", invocation.words[0])), 0
    lines, data = [f"service  {name}"], []
    for version in versions:
        lines += [f"\nversion {version.get('version') or ''}", f"\n{head}"]
        for node in version.get("nodes") or []:
            row: dict[str, Any] = {"id": node.get("id", ""), "address": output.joined(node)}
            try:
                answer = _asked(invocation, name, method, node)
            except Failed as error:
                lines.append(output.health_line(node, str(error)))
                code = complain(f"{node.get('id', '')}: {error}", code=error.code)
                row["error"] = str(error)
            else:
                lines.append(line(node, answer))
                row["answer"] = answer
            data.append(row)
    invocation.show(data, "\n".join(lines))
    return code


def _asked(invocation: Invocation, service: str, method: str, node: dict[str, Any]) -> dict[str, Any]:
    """:raises Failed: the node did not answer, or has no such method."""
    try:
        answer = json.loads(invocation.api.rpc(service, method, "{}", output.joined(node)))
    except ValueError:
        raise Failed("it answered what is not JSON") from None
    except Failed as error:
        if _ABSENT.search(str(error)):
            told = f"it seems to offer no {method}, as go-micro's own services do: {error}"
            raise Failed(told, error.body, error.code) from None
        raise
    return answer if isinstance(answer, dict) else {}
