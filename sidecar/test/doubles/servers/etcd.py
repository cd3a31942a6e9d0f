"""An etcd of one, as far as its v3 JSON gateway and go-micro's registry go: ranges, leases, watches, users.

Judged by the contract suite of registries beside the real one.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import orjson
from attrs import define

from sidecar.test.doubles.servers.base import FakeEngine, FakeExchange, FakeNetwork


@define
class _Kept:
    value: bytes
    revision: int
    lease: int


@define(eq=False)
class _Lease:
    ttl: int
    timer: Any


class FakeEtcd(FakeEngine):
    """:ivar users: passwords by name; empty: nobody has to say who he is."""

    def __init__(self, network: FakeNetwork) -> None:
        super().__init__(network)
        self.users: dict[str, str] = {}
        self.tokens: set[str] = set()
        self.page = 10_000
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        self.revision = 1
        self.compacted = 0
        self.kept: dict[bytes, _Kept] = {}
        self.leases: dict[int, _Lease] = {}
        #: Every change as a revision and an event.
        self.history: list[tuple[int, dict[str, Any]]] = []
        self._watches: list[tuple[FakeExchange, bytes, bytes]] = []

    def wipe(self) -> None:
        """Forget everything, the revision too."""
        self.interrupted()
        self._begin()

    def interrupted(self) -> None:
        for lease in self.leases.values():
            if lease.timer.active():
                lease.timer.cancel()
        self._watches.clear()

    def compact(self) -> None:
        """Forget history."""
        self.compacted = self.revision
        self.history.clear()

    def break_watches(self) -> None:
        """Lose the connections of all watches."""
        for request, _, _ in self._watches:
            request.abort()
        self._watches.clear()

    def put(self, key: str, value: bytes, lease: int = 0) -> None:
        """Store as a stranger would."""
        self._put(key.encode(), value, lease)

    def delete(self, key: str) -> None:
        self._delete([key.encode()])

    # --- The gateway --------------------------------------------------------------------------------------------------

    async def answer(self, request: FakeExchange, path: str, body: bytes) -> None:
        asked = orjson.loads(body)
        if path == "/v3/auth/authenticate":
            if self.users.get(asked["name"]) != asked["password"]:
                self._refuse(request, 400, 3, "etcdserver: authentication failed, invalid user ID or password")
                return
            self._count += 1
            token = f"token.{self._count}"
            self.tokens.add(token)
            self._say(request, {"token": token})
        elif self.users and request.header("Authorization") not in self.tokens:
            self._refuse(request, 401, 16, "etcdserver: invalid auth token")
        elif path == "/v3/kv/range":
            self._range(request, asked)
        elif path == "/v3/kv/put":
            self._put(b64decode(asked["key"]), b64decode(asked["value"]), int(asked.get("lease", 0)))
            self._say(request, {})
        elif path == "/v3/kv/deleterange":
            self._say(request, {"deleted": str(self._delete([b64decode(asked["key"])]))})
        elif path == "/v3/kv/txn":
            key = b64decode(asked["compare"][0]["key"])
            kept = self.kept.get(key)
            if kept is not None and kept.revision == int(asked["compare"][0]["mod_revision"]):
                self._delete([key])
                self._say(request, {"succeeded": True})
            else:
                count = {"response_range": {"count": "1"} if kept is not None else {}}
                self._say(request, {"responses": [count]})
        elif path == "/v3/lease/grant":
            self._count += 1
            self.leases[self._count] = _Lease(int(asked["TTL"]), None)
            self._run(self._count)
            self._say(request, {"ID": str(self._count), "TTL": asked["TTL"]})
        elif path == "/v3/lease/keepalive":
            lease = self.leases.get(int(asked["ID"]))
            if lease is not None:
                self._run(int(asked["ID"]))
            result = {"header": self._header(), "ID": asked["ID"], **({"TTL": str(lease.ttl)} if lease else {})}
            self.finish(request, 200, {"result": result})
        elif path == "/v3/lease/revoke":
            self._lapse(int(asked["ID"]))
            self._say(request, {})
        elif path == "/v3/watch":
            self._watch(request, asked["create_request"])
        else:
            self.finish(request, 404, b"Not Found")

    def _header(self) -> dict[str, str]:
        return {"cluster_id": "1", "member_id": "2", "revision": str(self.revision), "raft_term": "3"}

    def _say(self, request: FakeExchange, found: dict[str, Any]) -> None:
        self.finish(request, 200, {"header": self._header(), **found})

    def _refuse(self, request: FakeExchange, status: int, code: int, why: str) -> None:
        self.finish(request, status, {"error": why, "message": why, "code": code})

    def _range(self, request: FakeExchange, asked: dict[str, Any]) -> None:
        if 0 < int(asked.get("revision", 0)) < self.compacted:
            self._refuse(request, 400, 11, "etcdserver: mvcc: required revision has been compacted")
            return
        start, end = b64decode(asked["key"]), b64decode(asked.get("range_end", ""))
        keys = sorted(key for key in self.kept if start <= key < (end or start + b"\0"))
        limit = min(int(asked.get("limit", 0)) or self.page, self.page)
        found: dict[str, Any] = {"kvs": [self._kv(key) for key in keys[:limit]], "count": str(len(keys))}
        if len(keys) > limit:
            found["more"] = True
        self._say(request, found)

    def _kv(self, key: bytes) -> dict[str, str]:
        kept = self.kept[key]
        return {
            "key": b64encode(key).decode(),
            "value": b64encode(kept.value).decode(),
            "mod_revision": str(kept.revision),
            **({"lease": str(kept.lease)} if kept.lease else {}),
        }

    def _put(self, key: bytes, value: bytes, lease: int) -> None:
        self.revision += 1
        self.kept[key] = _Kept(value, self.revision, lease)
        self._event(key, {"kv": self._kv(key)})

    def _delete(self, keys: list[bytes]) -> int:
        gone = [key for key in keys if self.kept.pop(key, None) is not None]
        if gone:
            self.revision += 1
        for key in gone:
            kv = {"key": b64encode(key).decode(), "mod_revision": str(self.revision)}
            self._event(key, {"type": "DELETE", "kv": kv})
        return len(gone)

    def _event(self, key: bytes, event: dict[str, Any]) -> None:
        self.history.append((self.revision, event))
        for request, start, end in self._watches:
            if start <= key < end and not request.gone:
                request.write(orjson.dumps({"result": {"header": self._header(), "events": [event]}}) + b"\n")

    def _watch(self, request: FakeExchange, asked: dict[str, Any]) -> None:
        start, end, since = b64decode(asked["key"]), b64decode(asked["range_end"]), int(asked["start_revision"])
        request.begin(200)
        request.write(orjson.dumps({"result": {"header": self._header(), "created": True}}) + b"\n")
        if since <= self.compacted:
            result = {"header": self._header(), "canceled": True, "compact_revision": str(self.compacted)}
            request.write(orjson.dumps({"result": result}) + b"\n")
            request.finish()
            return
        missed = [event for revision, event in self.history if revision >= since]
        if missed:
            request.write(orjson.dumps({"result": {"header": self._header(), "events": missed}}) + b"\n")
        self._watches.append((request, start, end))

    def _run(self, identity: int) -> None:
        lease = self.leases[identity]
        if lease.timer is not None and lease.timer.active():
            lease.timer.cancel()
        # Real ones lapse late, and never earlier than two seconds.
        lease.timer = self.clock.callLater(max(2, lease.ttl) + 0.5, self._lapse, identity)

    def _lapse(self, identity: int) -> None:
        lease = self.leases.pop(identity, None)
        if lease is not None:
            if lease.timer.active():
                lease.timer.cancel()
            self._delete([key for key, kept in self.kept.items() if kept.lease == identity])
