"""Commands for whoever runs a sidecar."""

from __future__ import annotations

import json
import sys
import time
from urllib.parse import urlencode

from sidecar.cli.api import Failed
from sidecar.cli.arguments import Wrong
from sidecar.cli.exits import NOT_FOUND, TIMED_OUT
from sidecar.cli.invocation import Invocation, say

#: Seconds between two looks of ``micro ready``, and after which it says that it waits.
_LOOK, _SILENCE = 0.25, 1.0


def reload(invocation: Invocation) -> int:
    """``micro reload``: has the sidecar read its files again."""
    told = json.loads(invocation.api.ask("POST", "/reload", b""))
    waiting = told.get("needs_restart") or []
    say("reloaded")
    return say("\n".join(f"needs a restart: {each}" for each in waiting))


def drain(invocation: Invocation) -> int:
    """``micro drain``: takes apps out of the registry; back when it is safe to stop."""
    seconds = invocation.arguments.seconds("timeout") or 0.0
    asked = {"timeout": f"{seconds:g}s", **_app(invocation, invocation.words)}
    # The sidecar answers when it is done, which may take longer than other questions.
    invocation.api.patience(seconds)
    told = json.loads(invocation.api.ask("POST", f"/drain?{urlencode(asked)}", b""))
    return say(f"drained: {', '.join(told.get('drained') or []) or 'there is no app'}; it is safe to stop")


def maintenance(invocation: Invocation) -> int:
    """``micro maint``: keeps apps out of the registry, or lets them in again."""
    word, *rest = invocation.words or [""]
    if word not in ("on", "off"):
        raise Wrong("write: micro maint on [APP] --reason=TEXT, or micro maint off [APP]")
    asked = _app(invocation, rest)
    if word == "on":
        reason = invocation.arguments.text("reason")
        asked.update({"reason": reason} if reason else {})
    query = f"?{urlencode(asked)}" if asked else ""
    told = json.loads(invocation.api.ask("PUT" if word == "on" else "DELETE", f"/maintenance{query}", b""))
    away = told.get("away") or {}
    return say("\n".join(f"{name} is kept out: {why}" for name, why in away.items()) or "no app is kept out")


def ready(invocation: Invocation) -> int:
    """``micro ready``: 0 when calls should come, 4 when not, 124 when they still should not after ``--wait``."""
    asked = _app(invocation, invocation.words)
    where = "/health/ready" + (f"?{urlencode(asked)}" if asked else "")
    wait = invocation.arguments.seconds("wait")
    deadline, said = time.monotonic() + (wait or 0.0), False
    while (why := _not_ready(invocation, where)) is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise why if wait is None else Failed(f"not within {wait:g} s: {why}", code=TIMED_OUT)
        if wait is not None and wait - left > _SILENCE and not said:
            sys.stderr.write(f"micro: waiting: {why}\n")
            said = True
        time.sleep(min(_LOOK, left))
    return say("ready")


def _not_ready(invocation: Invocation, where: str) -> Failed | None:
    """Why calls should not come, None when they should. :raises Failed: there is no such app."""
    try:
        invocation.api.ask("GET", where)
    except Failed as error:
        if error.code == NOT_FOUND:
            raise
        return error
    return None


def _app(invocation: Invocation, words: list[str]) -> dict[str, str]:
    if len(words) > 1:
        raise Wrong("name one app, or none for all of them")
    for word in words:
        invocation.check_text(word)
    return {"app": words[0]} if words else {}
