"""Commands for whoever runs a sidecar."""

from __future__ import annotations

import json

from sidecar.cli.invocation import Invocation, say


def reload(invocation: Invocation) -> int:
    """``micro reload``: has the sidecar read its files again."""
    told = json.loads(invocation.api.ask("POST", "/reload", b""))
    waiting = told.get("needs_restart") or []
    say("reloaded")
    return say("\n".join(f"needs a restart: {each}" for each in waiting))
