"""Consul's HTTP API, as far as a registry needs it: what is asked, and which answers are one."""

from __future__ import annotations

from random import Random
from typing import Any
from urllib.parse import quote

import orjson

from sidecar.errors import BadRequest
from sidecar.model import Node, Service
from sidecar.net.client.fetcher import Response, excerpt
from sidecar.registry.remote.failover import ErrorAnswer, FailoverClient
from sidecar.wire.registry import consul as wire

#: Seconds for anything but waiting.
PATIENCE = 3.0
#: Seconds that a blocking query waits, give or take a quarter so that they do not all end at once.
_WAIT = 20.0

CATALOG = "/v1/catalog/services"
CRITICAL = "/v1/health/state/critical"


class ConsulApi:
    """Asks an agent of Consul's."""

    def __init__(self, client: FailoverClient, random: Random, token: str, owner: str = "") -> None:
        """:param token: of an ACL, "" for none. :param owner: marks what this process registers."""
        self.owner = owner
        self._client = client
        self._random = random
        self._headers = {"X-Consul-Token": token} if token else {}

    async def read(self, path: str) -> Response:
        """Ask now. :raises EngineUnavailable: no address answered."""
        return self._taken(await self._ask("GET", path), path)

    async def poll(self, path: str, index: int) -> Response:
        """A blocking query: answered at once for index 0, else when there is news or time is up.

        :raises EngineUnavailable: the current address did not answer; the next one is current then.
        """
        wait = _WAIT * self._random.uniform(0.75, 1.25)
        query = f"?index={index}&wait={wait:.0f}s" if index else ""
        # Consul itself adds up to a sixteenth to the wait.
        timeout = PATIENCE + (wait * 17 / 16 if index else 0)
        return self._taken(await self._client.ask_once("GET", path + query, self._headers, timeout=timeout), path)

    async def register(self, service: Service, node: Node, ttl: float | None) -> None:
        """Register in full, passing. :raises EngineUnavailable: it was not taken. :raises BadRequest: it never is."""
        path = "/v1/agent/service/register"
        if ttl is None:
            path += "?replace-existing-checks=true"  # one of a former life with a TTL would turn critical
        response = await self._ask("PUT", path, orjson.dumps(wire.registration(service, node, ttl, self.owner)))
        if response.status == 400:
            raise BadRequest(f"consul cannot keep this service: {excerpt(response.body)}")
        self._taken(response, path)
        if ttl is not None and not await self.passing(node.id):
            raise ErrorAnswer(f"consul lost the check of {node.id} at once", 404)

    async def passing(self, identity: str) -> bool:
        """Say that a node with a TTL is well. :returns: whether its check is known."""
        path = f"/v1/agent/check/pass/service:{quote(identity, safe='')}"
        response = await self._ask("PUT", path, accept=_known_or_not)
        return not _unknown(response) and bool(self._taken(response, path))

    async def deregister(self, identity: str) -> None:
        """Take a node out; one that is not there is no error."""
        path = f"/v1/agent/service/deregister/{quote(identity, safe='')}"
        response = await self._ask("PUT", path, accept=_known_or_not)
        if not _unknown(response):
            self._taken(response, path)

    async def has(self, identity: str) -> bool:
        """Whether the agent has this node, be it in the catalog or not yet."""
        path = f"/v1/agent/service/{quote(identity, safe='')}"
        response = await self._ask("GET", path, accept=_known_or_not)
        return not _unknown(response) and bool(self._taken(response, path))

    async def is_ours(self, identity: str) -> bool:
        """Whether the agent's service of this id is what this process registered, or there is none."""
        path = f"/v1/agent/service/{quote(identity, safe='')}"
        response = await self._ask("GET", path, accept=_known_or_not)
        if _unknown(response):
            return True
        try:
            record = orjson.loads(self._taken(response, path).body)
        except ValueError:
            return True
        return not isinstance(record, dict) or wire.owner_of(record) == self.owner

    async def _ask(self, method: str, path: str, body: bytes = b"", **options: Any) -> Response:
        return await self._client.ask(method, path, self._headers, body, timeout=PATIENCE, **options)

    def _taken(self, response: Response, path: str) -> Response:
        """:raises ErrorAnswer: the answer is not a good one."""
        if response.status != 200:
            hint = "; check the token (CONSUL_HTTP_TOKEN)" if response.status in (401, 403) else ""
            said = f"{response.status} {excerpt(response.body)}{hint}"
            raise ErrorAnswer(f"consul refuses {path}: {said}", response.status)
        return response


def health_of(name: str) -> str:
    """Where the nodes of a service are read."""
    return f"/v1/health/service/{quote(name, safe='')}"


def index_of(response: Response) -> int:
    """The index of an answer, 0 where it has none."""
    text = response.header("X-Consul-Index")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def next_index(index: int, response: Response) -> int:
    """What to wait on next. An index that went backwards means that Consul began anew: ask without one."""
    found = index_of(response)
    return found if found >= index else 0


def _unknown(response: Response) -> bool:
    """Whether Consul says that there is no such service or check: 404 since 1.11, 500 before."""
    return response.status == 404 or (response.status == 500 and b"nknown" in response.body)


def _known_or_not(response: Response) -> bool:
    return (response.status < 500 and response.status != 429) or _unknown(response)
