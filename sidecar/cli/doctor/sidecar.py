"""How a sidecar that runs is, by its own word."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from sidecar.cli.api import Api, Failed
from sidecar.cli.doctor.backends import clock
from sidecar.cli.doctor.diagnosis import Diagnosis, fault, ok, warning
from sidecar.cli.doctor.network import get, skew
from sidecar.cli.output import joined, place

#: Nodes that are asked for their time, and seconds after which no more are.
_MOST_NODES, _CLOCKS = 16, 10.0


def examine(api: Api) -> Iterator[Diagnosis]:
    """:param api: the sidecar to ask."""
    subject = f"sidecar {api.address}"
    try:
        index = api.request("GET", "/")
    except Failed as error:
        yield fault(subject, str(error), "start one, or name where it is by --proxy_address", "micro sidecar")
        return
    told = _json(index.text)
    yield ok(subject, f"answers, {told.get('name', 'its name unknown')} {told.get('version', '')}".rstrip())
    ahead = skew(index.headers.get("date"))
    if ahead is not None:
        yield clock(subject, ahead)
    yield _health(api)
    yield from _stats(api)
    names = _names(api)
    yield names if isinstance(names, Diagnosis) else _neighbours(names)
    if not isinstance(names, Diagnosis):
        yield from _clocks(api, names)


def _health(api: Api) -> Diagnosis:
    try:
        said = api.ask("GET", "/health")
    except Failed as error:
        return fault("health", str(error), "see what its app and engines say below", "curl -i .../health")
    told = _json(said)
    warnings = told.get("warnings")
    if warnings:
        return warning("health", f"well, but: {'; '.join(map(str, warnings))}", "see what it warns of")
    return ok("health", "well")


def _stats(api: Api) -> Iterator[Diagnosis]:
    """Engines and apps, where the sidecar has --enable_stats."""
    try:
        told = _json(api.ask("GET", "/stats", headers={"Accept": "application/json"}))
    except Failed:
        yield ok("stats", "not served: --enable_stats shows engines and apps here too")
        return
    for role in ("registry", "broker"):
        state = told.get(role)
        if isinstance(state, dict):
            subject = f"{role} {state.get('kind', '')}"
            if state.get("connected", True):
                yield ok(subject, "connected")
            else:
                detail = state.get("detail") or "not connected"
                yield fault(subject, str(detail), f"start it, or correct --{role}_address", "micro doctor --config ...")
    for name, app in _apps(told):
        if app.get("healthy") is False:
            yield fault(name, str(app.get("explanation", "ill")), "mend the app or its check")


def _apps(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    one, several = told.get("app"), told.get("apps")
    if isinstance(one, dict):
        yield "app", one
    if isinstance(several, dict):
        yield from ((f"app {name}", app) for name, app in several.items() if isinstance(app, dict))
    if isinstance(several, list):
        yield from ((f"app {app.get('name', '')}", app) for app in several if isinstance(app, dict))


def _names(api: Api) -> list[str] | Diagnosis:
    """:returns: who is there, or why nobody can say."""
    try:
        listed = api.registry()
    except Failed as error:
        return fault("registry", str(error), "see its engine above")
    return sorted({str(one.get("name")) for one in listed if isinstance(one, dict)}) if isinstance(listed, list) else []


def _neighbours(names: list[str]) -> Diagnosis:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ok("services", f"{len(names)} known: {', '.join(names[:10])}{more}" if names else "none are known")


def _clocks(api: Api, names: list[str]) -> Iterator[Diagnosis]:
    """What time it is at the nodes of services, where they tell it."""
    agreeing, deadline = 0, time.monotonic() + _CLOCKS
    for node in islice(_nodes(api, names), _MOST_NODES):
        if time.monotonic() > deadline:
            break
        host, port = place(node)
        try:
            ahead = get(host, port).skew if port else None
        except OSError:
            continue  # how it is, its sidecar and its callers see
        if ahead is None:
            continue
        found = clock(f"node {node.get('id')} at {joined(node)}", ahead)
        if found.level == "ok":
            agreeing += 1
        else:
            yield found
    if agreeing:
        yield ok("clock", f"agrees with those of {agreeing} nodes" if agreeing > 1 else "agrees with that of a node")


def _nodes(api: Api, names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        try:
            versions = api.registry(name)
        except Failed:
            continue  # it may have gone since
        for version in versions if isinstance(versions, list) else [versions]:
            yield from (node for node in version.get("nodes") or [] if isinstance(node, dict))


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
