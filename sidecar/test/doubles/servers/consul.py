"""A Consul of one agent, as far as go-micro's registry sees it: agent, health and catalog, with blocking queries.

Judged by the contract suite of registries beside the real one.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
from twisted.internet.defer import Deferred

from sidecar.test.doubles.servers.base import FakeEngine, FakeExchange, FakeNetwork
from sidecar.wire import durations


class FakeConsul(FakeEngine):
    """:ivar token: what ``X-Consul-Token`` must say, "" for anything."""

    def __init__(self, network: FakeNetwork) -> None:
        super().__init__(network)
        self.token = ""
        self.index = 10
        #: What was registered, by id.
        self.services: dict[str, dict[str, Any]] = {}
        #: The status of each id's check.
        self.checks: dict[str, str] = {}
        self._timers: dict[str, Any] = {}
        self._waiting: list[Deferred[None]] = []

    def wipe(self) -> None:
        """Forget everything, the index too."""
        self.services.clear()
        self.checks.clear()
        self.index = 5
        self.interrupted()

    def interrupted(self) -> None:
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        self._timers.clear()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def changed(self) -> None:
        """Something changed: wake blocking queries."""
        self.index += 1
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    async def answer(self, request: FakeExchange, path: str, body: bytes) -> None:
        if self.token and request.header("X-Consul-Token") != self.token:
            self.finish(request, 403, b"Permission denied")
            return
        parts = urlsplit(path)
        words = [unquote(word) for word in parts.path.split("/")[2:]]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if words[0] == "agent":
            self._agent(request, words[1:], query, body)
            return
        if int(query.get("index", 0)) >= self.index:
            await self._news(durations.parse(query.get("wait", "5m")))
        if words[:2] == ["catalog", "services"]:
            found: Any = {"consul": []}
            for service in self.services.values():
                found.setdefault(service["Name"], []).extend(service["Tags"])
        elif words[:2] == ["health", "service"]:
            found = [self._entry(each) for each in self.services.values() if each["Name"] == words[2]]
        else:
            found = [{"ServiceID": each} for each, status in self.checks.items() if status == "critical"]
        self.finish(request, 200, found, {"X-Consul-Index": str(self.index)})

    async def _news(self, seconds: float) -> None:
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        timer = self.clock.callLater(seconds, self.changed)
        await waiting
        if timer.active():
            timer.cancel()

    def _entry(self, service: dict[str, Any]) -> dict[str, Any]:
        checks = [{"CheckID": "serfHealth", "Status": "passing"}]
        if service["ID"] in self.checks:
            checks.append({"CheckID": f"service:{service['ID']}", "Status": self.checks[service["ID"]]})
        record = {**service, "Service": service["Name"]}
        del record["Name"]
        return {"Node": {"Node": "here", "Address": "127.0.0.1"}, "Service": record, "Checks": checks}

    def _agent(self, request: FakeExchange, words: list[str], query: dict[str, str], body: bytes) -> None:
        if words[:2] == ["service", "register"]:
            service = orjson.loads(body)
            check = service.pop("Check", None)
            identity = service["ID"]
            if check is not None or query.get("replace-existing-checks"):
                self._unset(identity)
            if check is not None:
                self.checks[identity] = check.get("Status", "critical")
                self._set(identity, durations.parse(check["TTL"]))
                service["TTL"] = check["TTL"]
            self.services[identity] = service
            self.changed()
            self.finish(request, 200, b"")
        elif words[:2] == ["service", "deregister"]:
            self._unset(words[2])
            if self.services.pop(words[2], None) is None:
                self.finish(request, 404, f'Unknown service ID "{words[2]}"'.encode())
                return
            self.changed()
            self.finish(request, 200, b"")
        elif words[:2] == ["check", "pass"]:
            identity = words[2].removeprefix("service:")
            if identity not in self.checks:
                self.finish(request, 404, f'Unknown check ID "{words[2]}"'.encode())
                return
            self._set(identity, durations.parse(self.services[identity]["TTL"]))
            if self.checks[identity] != "passing":
                self.checks[identity] = "passing"
                self.changed()
            self.finish(request, 200, b"")
        elif words[0] == "service":
            known = self.services.get(words[1])
            self.finish(request, 200 if known else 404, known or b"unknown service ID: ...")
        else:
            self.finish(request, 404, b"")

    def _set(self, identity: str, seconds: float) -> None:
        timer = self._timers.pop(identity, None)
        if timer is not None and timer.active():
            timer.cancel()
        self._timers[identity] = self.clock.callLater(seconds, self._critical, identity)

    def _unset(self, identity: str) -> None:
        self.checks.pop(identity, None)
        timer = self._timers.pop(identity, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _critical(self, identity: str) -> None:
        self.checks[identity] = "critical"
        self.changed()
