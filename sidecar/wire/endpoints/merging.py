"""Endpoints that are told of in two places, made one list. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from sidecar.model import Endpoint


def merged(described: Iterable[Endpoint], named: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """What ``named`` says of an endpoint counts more; what it leaves out stays as it is described."""
    found = {each.name: each for each in described}
    for each in named:
        known = found.get(each.name)
        found[each.name] = (
            each
            if known is None
            else evolve(
                known,
                request=each.request or known.request,
                response=each.response or known.response,
                metadata={**known.metadata, **each.metadata},
            )
        )
    return tuple(found.values())
