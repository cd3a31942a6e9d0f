"""Commands about topics: ``publish`` and ``subscribe``."""

from __future__ import annotations

import json
import sys
from urllib.parse import quote

from sidecar.cli.arguments import Wrong
from sidecar.cli.invocation import Invocation, say


def publish(invocation: Invocation) -> int:
    """``micro publish``: the words after the topic, or standard input."""
    invocation.need(1, "topic and message")
    topic, *words = invocation.words
    body = " ".join(words).encode("utf-8", "surrogateescape") if words else sys.stdin.buffer.read()
    invocation.api.ask("POST", f"/broker?topic={quote(topic, safe='')}", body, {"Content-Type": _content_type(body)})
    return say("ok")


def subscribe(invocation: Invocation) -> int:
    """``micro subscribe``: prints messages until it has enough or is interrupted."""
    if len(invocation.words) != 1:
        raise Wrong("require topic")
    invocation.need(1, "topic")
    given = invocation.arguments
    # Imported here: the other commands should not wait for Twisted.
    from sidecar.cli.subscribe import Wanted, subscribe

    wanted = Wanted(
        invocation.words[0],
        given.text("queue"),
        given.text("format") == "text",
        given.number("count"),
        given.given("follow"),
    )
    return subscribe(invocation.api, wanted)


def _content_type(body: bytes) -> str:
    try:
        json.loads(body)
        return "application/json"
    except (ValueError, RecursionError):
        pass  # not JSON; what else it is, follows
    try:
        body.decode()
        return "text/plain"
    except UnicodeDecodeError:
        return "application/octet-stream"
