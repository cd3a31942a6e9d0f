"""etcd as the registry: the whole of go-micro's prefix mirrored by one watch, through the v3 JSON gateway."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList, FirstError, fail, succeed
from twisted.internet.task import deferLater
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, MalformedRecord
from sidecar.interfaces import IRegistry
from sidecar.model import BackendOptions, Service
from sidecar.net.client.fetcher import Fetcher
from sidecar.net.client.tls import TrustOptions
from sidecar.registry.remote.base import RemoteRegistry, not_reachable
from sidecar.registry.remote.etcdapi import PATIENCE, Compacted, EtcdApi
from sidecar.registry.remote.failover import Engine, base_urls
from sidecar.registry.remote.registrations import Registration
from sidecar.wire import etcd as wire

#: Seconds between looks at whether the engine still lives: a watch on a frozen engine is silent for ever.
_BEAT = 5.0
#: Seconds between attempts to reach the engine, at first and at most.
_BACKOFF: Final = (0.05, 1.0)


@frozen
class _Known:
    """What a key stood for. :ivar revision: of the change that said so."""

    revision: int
    name: str
    ids: tuple[str, ...]


@implementer(IRegistry)
class EtcdRegistry(RemoteRegistry):
    """Keeps a mirror of everything under ``/micro/registry/`` and writes with leases."""

    kind = "etcd"

    def __init__(
        self,
        reactor: Any,
        random: Random,
        agent: Fetcher,
        bases: tuple[str, ...],
        username: str = "",
        password: str = "",
    ) -> None:
        """:param bases: URLs in the order to try them."""
        super().__init__(reactor, random, agent, Engine("etcd", reactor, agent, bases))
        self._api = EtcdApi(self._engine, username, password)
        self._keys: dict[str, _Known] = {}
        #: Keys that an engine which came back does not have (yet).
        self._ghosts: set[str] = set()
        #: Keys that we deleted, with the revision, until the watch is past it.
        self._tombs: dict[str, int] = {}
        self._revision = 0
        self._mirrored = False

    def startService(self) -> None:
        super().startService()
        self._tasks.run(self._keep_up(), "Watching etcd")

    # --- Reading ------------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        return self._once_mirrored(partial(self._from_mirror, name))

    def list(self) -> Deferred[tuple[str, ...]]:
        return self._once_mirrored(self._mirror.names)

    def _once_mirrored(self, read: Callable[[], Any]) -> Deferred[Any]:
        if self._mirrored:
            try:
                return succeed(read())
            except Exception as error:
                return fail(error)
        waiting = self._returned().addTimeout(
            PATIENCE, self._clock, onTimeoutCancel=lambda result, limit: self._give_up()
        )
        return waiting.addCallback(lambda _: read())

    def _give_up(self) -> None:
        raise not_reachable(self.kind, self._detail)

    # --- Keeping the mirror -------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        """Read everything, follow what changes, and begin again when the thread is lost."""
        pause = _BACKOFF[0]
        while True:
            try:
                await self._resync()
                pause = _BACKOFF[0]
                await self._follow()
            except Compacted as error:
                self.log.info("Reading everything from etcd again: {why}", why=str(error))
            except (EngineUnavailable, MalformedRecord) as error:
                self._lost(error)
            await deferLater(self._clock, pause * self._random.uniform(0.5, 1.0))
            pause = min(pause * 2, _BACKOFF[1])

    async def _follow(self) -> None:
        """Watch for as long as etcd is there, from the last revision seen, whatever becomes of a connection."""
        while True:
            try:
                await self._watch()
            except EngineUnavailable:
                if not await self._alive():
                    raise
            await deferLater(self._clock, _BACKOFF[0])

    async def _alive(self) -> bool:
        """Whether etcd answers, and has not begun anew."""
        try:
            return await self._api.revision() >= self._revision
        except (EngineUnavailable, MalformedRecord):
            return False

    async def _resync(self) -> None:
        """Read everything, and take it for the truth."""
        records, revision = await self._api.everything()
        back = self._mirror.stale_since is not None or revision < self._revision
        # Where etcd began anew its revisions did too, and what we know of them means nothing any more.
        self._tombs = {} if back else {key: each for key, each in self._tombs.items() if each > revision}
        before, self._keys = self._keys, {}
        for record in records:
            self._put(record, before.get(record.key))
        self._revision, self._mirrored = revision, True
        self._found(restarted=back)
        for key, known in before.items():
            if key in self._keys:
                continue
            if not back and known.revision > revision:
                self._keys[key] = known  # written by us since the reading began
            elif self._gentle:
                self._keys[key] = _Known(0, known.name, known.ids)
                self._ghosts.add(key)
            else:
                self._vanish(known)

    async def _watch(self) -> None:
        """Follow changes until the stream ends, or the engine stops answering."""
        watching = Deferred.fromCoroutine(self._api.watch(self._revision + 1, self._progress))
        await first_of(watching, Deferred.fromCoroutine(self._beat()))

    async def _beat(self) -> None:
        while True:
            await deferLater(self._clock, _BEAT)
            await self._api.revision()

    def _progress(self, progress: wire.Progress) -> None:
        if progress.compacted:
            raise Compacted(f"its history before revision {progress.compacted} is gone")
        if progress.canceled is not None:
            self._api.log_out()  # most often because its token ran out
            raise EngineUnavailable(f"etcd ended the watch: {progress.canceled}")
        if progress.revision and progress.revision < self._revision:
            raise Compacted(f"it is at revision {progress.revision} and was at {self._revision}")
        for event in progress.events:
            if isinstance(event, wire.Record):
                self._put(event, self._keys.get(event.key))
            else:
                self._deleted(*event)
        self._revision = max(self._revision, progress.revision)
        self._tombs = {key: revision for key, revision in self._tombs.items() if revision > self._revision}

    def _put(self, record: wire.Record, before: _Known | None) -> None:
        if record.key in self._keys and self._keys[record.key].revision >= record.revision:
            return
        if self._tombs.get(record.key, 0) >= record.revision:
            return
        self._ghosts.discard(record.key)
        try:
            service = record.service()
        except MalformedRecord as error:
            self._complain(record.key, str(error))
            self._keys.pop(record.key, None)
            if before is not None:
                self._vanish(before)
            return
        self._content(record.key)
        known = _Known(record.revision, service.name, tuple(node.id for node in service.nodes))
        if before is not None:
            gone = before.ids if before.name != known.name else [each for each in before.ids if each not in known.ids]
            self._tell(self._mirror.drop(before.name, gone, "delete"))
        self._keys[record.key] = known
        self._tell(self._mirror.put(service))

    def _deleted(self, key: str, revision: int) -> None:
        self._content(key)
        known = self._keys.get(key)
        if known is None or known.revision > revision:
            return
        del self._keys[key]
        self._ghosts.discard(key)
        self._vanish(known)
        for identity in known.ids:
            holding = self._ours.holds(known.name, identity)
            if holding is not None:
                self._tasks.run(self._missed(holding), f"Asking why {identity} is gone")

    def _vanish(self, known: _Known) -> None:
        self._tell(self._mirror.drop(known.name, known.ids, "delete"))

    def _settle(self) -> None:
        ghosts, self._ghosts = self._ghosts, set()
        for key in ghosts:
            known = self._keys.pop(key, None)
            if known is not None:
                self._vanish(known)

    async def _missed(self, holding: Registration) -> None:
        """A key of ours was deleted. Somebody deregistered it, unless its lease is gone: then etcd let it lapse."""
        name, identity = holding.key
        try:
            lapsed = holding.lease and not await self._api.keep_alive(holding.lease)
        except EngineUnavailable:
            return  # when it is back everything is written again
        if lapsed:
            await self._ours.rewrite(name, identity)
        elif wire.key(name, identity) not in self._keys:
            self._ours.dismiss(name, identity)

    # --- Writing ------------------------------------------------------------------------------------------------------

    async def write(self, holding: Registration, *, renew: bool) -> None:
        name, identity = holding.key
        key = wire.key(name, identity)
        if renew and holding.lease and key in self._keys and await self._api.keep_alive(holding.lease):
            return
        former, lease = holding.lease, 0
        if holding.ttl is not None:
            lease = await self._api.grant(math.ceil(holding.ttl))
        value = wire.value(holding.service, holding.service.nodes[0])
        revision = await self._api.put(key, value, lease)
        holding.lease = lease
        self._put(wire.Record(key, value, revision, lease), self._keys.get(key))
        if former:
            self._tasks.run(self._api.revoke(former), "Giving a lease back")

    async def erase(self, name: str, identity: str, lease: int) -> None:
        key = wire.key(name, identity)
        revision = await self._api.delete(key)
        known = self._keys.get(key)
        if known is not None and known.revision <= revision:
            del self._keys[key]
            self._ghosts.discard(key)
            self._vanish(known)
            if revision > self._revision:
                self._tombs[key] = revision
        if lease:
            self._tasks.run(self._api.revoke(lease), "Giving a lease back")


async def first_of(*works: Deferred[None]) -> None:
    """Wait for the first of ``works`` to end, and cancel the others."""
    try:
        await DeferredList(works, fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
    finally:
        for work in works:
            work.cancel()


def build(options: BackendOptions) -> EtcdRegistry:
    """The backend behind ``--registry=etcd``. :raises ConfigError: an address or a certificate cannot be used."""
    bases = base_urls("etcd", options.addresses, "127.0.0.1", 2379, options.tls)
    trust = TrustOptions(options.ca_file, options.cert_file, options.key_file)
    agent = Fetcher(options.reactor, timeout=PATIENCE, tls=trust)
    return EtcdRegistry(options.reactor, Random(), agent, bases, options.username, options.password)
