"""etcd's v3 JSON gateway, as far as a registry needs it: who we are, what is asked, and which answers are one."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from sidecar.errors import BadRequest, EngineUnavailable, MalformedRecord
from sidecar.net.client.fetcher import Response
from sidecar.registry.remote.failover import MAX_ANSWER, ErrorAnswer, FailoverClient
from sidecar.wire.registry import etcd as wire

#: Seconds for anything but watching.
PATIENCE = 3.0
#: Seconds for a page of a range.
_PAGE_PATIENCE = 30.0
#: Keys asked for at once.
_PAGE = 1000

_JSON = {"Content-Type": "application/json"}


class Compacted(Exception):
    """What was asked for is no longer in etcd's history, or of another history."""


class EtcdApi:
    """Asks an etcd."""

    log = Logger()

    def __init__(self, client: FailoverClient, username: str, password: str) -> None:
        """:param username: "" for an etcd without users."""
        self._client = client
        self._username = username
        self._password = password
        self._token = ""

    # --- What is stored -----------------------------------------------------------------------------------------------

    async def everything(self) -> tuple[list[wire.Record], int]:
        """Read all records. :returns: them, and the revision at which all of them stood so."""
        records: list[wire.Record] = []
        start, revision = wire.PREFIX, 0
        while True:
            body = wire.page(start, wire.end_of(wire.PREFIX), _PAGE, revision)
            page = wire.read_page(await self._ask("/v3/kv/range", body, _PAGE_PATIENCE))
            records += page.records
            revision = revision or page.revision
            if not page.more or not page.records:
                return records, revision
            start = page.records[-1].key + "\0"

    async def revision(self) -> int:
        """The store's revision now."""
        return wire.read_page(await self._ask("/v3/kv/range", wire.page(wire.PREFIX, wire.PREFIX + "\0", 1))).revision

    async def put(self, key: str, value: bytes, lease: int) -> int:
        """:returns: the revision of this change. :raises BadRequest: etcd never takes it."""
        return wire.revision_of(wire.answer(await self._ask("/v3/kv/put", wire.put(key, value, lease))))

    async def delete(self, key: str, written: int = 0) -> tuple[int, bool]:
        """Delete a key.

        :param written: only where its last change is of this revision; 0 for whatever there is.
        :returns: the revision after it, and whether the key is gone (False where somebody else wrote it since).
        """
        if not written:
            return wire.revision_of(wire.answer(await self._ask("/v3/kv/deleterange", wire.delete(key)))), True
        answer = wire.answer(await self._ask("/v3/kv/txn", wire.delete_unchanged(key, written)))
        return wire.revision_of(answer), wire.is_gone(answer)

    async def watch(self, revision: int, progress: Callable[[wire.Progress], None]) -> None:
        """Tell of every change from ``revision`` on, until the stream ends.

        :raises EngineUnavailable: it broke off. What ``progress`` raises ends it too.
        """
        buffer = bytearray()

        def receive(chunk: bytes) -> None:
            buffer.extend(chunk)
            if len(buffer) > MAX_ANSWER:
                raise MalformedRecord(f"a message of the watch is larger than {MAX_ANSWER} bytes")
            if b"\n" not in chunk:
                return
            *lines, rest = bytes(buffer).split(b"\n")
            buffer[:] = rest
            for line in lines:
                if line.strip():
                    progress(wire.read_progress(line))

        body = wire.watch(wire.PREFIX, revision)
        await self._client.stream("/v3/watch", await self._headers(), body, receive, timeout=PATIENCE)

    # --- Leases -------------------------------------------------------------------------------------------------------

    async def grant(self, seconds: int) -> int:
        """:returns: a new lease. etcd raises very short ones."""
        return wire.number(wire.answer(await self._ask("/v3/lease/grant", wire.grant(max(1, seconds)))).get("ID"))

    async def keep_alive(self, lease: int) -> bool:
        """Start a lease's time anew. :returns: whether there still is such a lease."""
        result = wire.answer(await self._ask("/v3/lease/keepalive", wire.lease(lease))).get("result")
        return isinstance(result, dict) and wire.number(result.get("TTL")) > 0

    async def revoke(self, lease: int) -> None:
        """Give a lease back. It runs out by itself where that fails."""
        try:
            await self._ask("/v3/lease/revoke", wire.lease(lease))
        except EngineUnavailable as error:
            self.log.debug("Lease {lease} was not given back: {error}", lease=lease, error=str(error))

    # --- Asking -------------------------------------------------------------------------------------------------------

    def log_out(self) -> None:
        """The token is no good any more."""
        self._token = ""

    async def _headers(self) -> dict[str, str]:
        if not self._username:
            return _JSON
        if not self._token:
            body = wire.login(self._username, self._password)
            response = await self._post("/v3/auth/authenticate", _JSON, body, PATIENCE)
            if response.status != 200:
                _, why = wire.fault(response.body)
                raise EngineUnavailable(f"etcd refuses user {self._username!r}: {why}; check user name and password")
            self._token = str(wire.answer(response.body).get("token") or "")
        return {**_JSON, "Authorization": self._token}

    async def _ask(self, path: str, body: bytes, timeout: float = PATIENCE) -> bytes:
        """:raises EngineUnavailable: etcd did not do it. :raises BadRequest: it never will.
        :raises Compacted: it has forgotten."""
        response = await self._post(path, await self._headers(), body, timeout)
        code, why = (0, "") if response.status == 200 else wire.fault(response.body)
        if code == wire.UNAUTHENTICATED and self._username:
            self.log_out()  # tokens run out
            response = await self._post(path, await self._headers(), body, timeout)
            code, why = (0, "") if response.status == 200 else wire.fault(response.body)
        if response.status == 200:
            return response.body
        if code == wire.OUT_OF_RANGE:
            raise Compacted(why)
        if code == wire.INVALID_ARGUMENT and path == "/v3/kv/put" and "user name" not in why:
            raise BadRequest(f"etcd cannot keep this service: {why}")
        raise ErrorAnswer(f"POST {path}: etcd answered {response.status}: {why}", response.status)

    async def _post(self, path: str, headers: dict[str, str], body: bytes, timeout: float) -> Response:
        return await self._client.ask("POST", path, headers, body, timeout=timeout, accept=_speaks)


def _speaks(response: Response) -> bool:
    """Whether it is etcd's own word, and not that it has no leader. (The gateway makes 5xx of other faults too.)"""
    if response.status < 500:
        return True
    code, _ = wire.fault(response.body)
    return code not in (0, wire.UNAVAILABLE, wire.DEADLINE_EXCEEDED)
