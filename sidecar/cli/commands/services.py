"""Commands about the registry's services and nodes."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from sidecar.cli import output
from sidecar.cli.api import Failed
from sidecar.cli.exits import FAULT
from sidecar.cli.invocation import Invocation, not_found, say


def list_services(invocation: Invocation) -> int:
    """``micro list services``: the names alone, as the original prints them."""
    names = _names(invocation)
    return invocation.show(names, "\n".join(names))


def services(invocation: Invocation) -> int:
    """``micro services``: each with its versions and how many nodes it has."""
    rows: list[dict[str, Any]] = []
    for name in _names(invocation):
        try:
            versions = described(invocation, name)
        except Failed as error:
            if error.code != 3:  # it may have gone since
                raise
            continue
        rows.append(
            {
                "name": name,
                "versions": [str(version.get("version") or "") for version in versions],
                "nodes": sum(len(version.get("nodes") or []) for version in versions),
            }
        )
    table = [(row["name"], ", ".join(filter(None, row["versions"])) or "-", row["nodes"]) for row in rows]
    return invocation.show(rows, output.columns(("SERVICE", "VERSIONS", "NODES"), table))


def nodes(invocation: Invocation) -> int:
    """``micro nodes``: every node of a service."""
    invocation.need(1, "service name")
    rows: list[dict[str, Any]] = [
        {
            "id": str(node.get("id", "")),
            "address": output.joined(node),
            "version": str(version.get("version") or ""),
            "metadata": node.get("metadata") or {},
        }
        for version in described(invocation, invocation.words[0])
        for node in version.get("nodes") or []
    ]
    table = [
        (row["id"], row["address"], row["version"] or "-", ",".join(f"{k}={v}" for k, v in row["metadata"].items()))
        for row in rows
    ]
    return invocation.show(rows, output.columns(("NODE", "ADDRESS", "VERSION", "METADATA"), table))


def get(invocation: Invocation) -> int:
    """``micro get service``: versions, nodes and endpoints."""
    invocation.need(1, "service name")
    versions = described(invocation, invocation.words[0])
    return invocation.show(versions, output.described(versions))


def register(invocation: Invocation) -> int:
    """``micro register service``."""
    ttl = invocation.arguments.text("ttl")
    where = f"/registry?{urlencode({'ttl': ttl})}" if ttl else "/registry"
    invocation.api.ask("POST", where, _definition(invocation), {"Content-Type": "application/json"})
    return say("ok")


def deregister(invocation: Invocation) -> int:
    """``micro deregister service``."""
    invocation.api.ask("DELETE", "/registry", _definition(invocation), {"Content-Type": "application/json"})
    return say("ok")


def described(invocation: Invocation, name: str) -> list[dict[str, Any]]:
    """:returns: the service of that name, one object a version. :raises Failed: there is none."""
    found = invocation.api.registry(name)
    versions = found if isinstance(found, list) else [found]
    if not versions or not all(isinstance(version, dict) for version in versions):
        not_found(f"Service not found: {name}")
    return versions


def _names(invocation: Invocation) -> list[str]:
    listed = invocation.api.registry()
    if not isinstance(listed, list):
        raise Failed(f"{invocation.api.address} answered no list of services; is it a sidecar?", code=FAULT)
    return output.names(listed).splitlines()


def _definition(invocation: Invocation) -> bytes:
    if not invocation.words:
        invocation.need(1, "service definition")
    return " ".join(invocation.words).encode("utf-8", "surrogateescape")
