"""etcd as the registry: the whole of go-micro's prefix mirrored by one watch, through the v3 JSON gateway."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.web.iweb import IAgent
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, MalformedRecord
from sidecar.interfaces import IRegistry
from sidecar.model import BackendOptions, Cause, Service
from sidecar.net.client.fetcher import Fetcher
from sidecar.net.client.tls import TrustOptions
from sidecar.registry.remote.base import RemoteRegistry, not_reachable
from sidecar.registry.remote.etcdapi import PATIENCE, Compacted, EtcdApi
from sidecar.registry.remote.failover import FailoverClient, base_urls
from sidecar.registry.remote.registrations import Registration
from sidecar.waiting import Backoff, first_of
from sidecar.wire.registry import etcd as wire

#: Seconds between looks at whether the engine still lives: a watch on a frozen engine is silent for ever.
_BEAT = 5.0
#: Seconds that a read waits for an etcd that is known to be away, where nothing is known from before.
_PATIENCE_WHEN_AWAY: Final = 0.5
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
        super().__init__(reactor, random, agent, FailoverClient("etcd", reactor, agent, bases))
        self._api = EtcdApi(self._client, username, password)
        self._keys: dict[str, _Known] = {}
        #: Keys that an engine which came back does not have (yet).
        self._absent: set[str] = set()
        #: Keys that we deleted, with the revision, until the watch is past it.
        self._tombstones: dict[str, int] = {}
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
        # An engine that was asked and is away is not waited for as one is that has not been asked yet.
        patience = PATIENCE if self._mirror.stale_since is None else _PATIENCE_WHEN_AWAY
        waiting = self._returned().addTimeout(
            patience, self._clock, onTimeoutCancel=lambda result, limit: self._give_up()
        )
        return waiting.addCallback(lambda _: read())

    def _give_up(self) -> None:
        raise not_reachable(self.kind, self._detail)

    # --- Keeping the mirror -------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        """Read everything, follow what changes, and begin again when the thread is lost."""
        backoff = Backoff(*_BACKOFF, self._random)
        while True:
            try:
                await self._resync()
                backoff.reset()
                await self._follow()
            except Compacted as error:
                self.log.info("Reading everything from etcd again: {why}", why=str(error))
            except (EngineUnavailable, MalformedRecord) as error:
                self._lost(error)
            await deferLater(self._clock, backoff.pause())

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
        self._tombstones = {} if back else {key: each for key, each in self._tombstones.items() if each > revision}
        before, self._keys = self._keys, {}
        for record in records:
            self._put(record, before.get(record.key), None)
        self._revision, self._mirrored = revision, True
        self._found(restarted=back)
        for key, known in before.items():
            if key in self._keys:
                continue
            if not back and known.revision > revision:
                self._keys[key] = known  # written by us since the reading began
            elif self._gentle:
                self._keys[key] = _Known(0, known.name, known.ids)
                self._absent.add(key)
            else:
                self._drop(known, self._missing() if back else self._told)

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
                self._put(event, self._keys.get(event.key), None)
            else:
                self._deleted(*event)
        self._revision = max(self._revision, progress.revision)
        self._tombstones = {key: revision for key, revision in self._tombstones.items() if revision > self._revision}

    def _put(self, record: wire.Record, before: _Known | None, cause: Cause | None) -> None:
        """:param cause: why, None where etcd alone tells of it."""
        if record.key in self._keys and self._keys[record.key].revision >= record.revision:
            return
        if self._tombstones.get(record.key, 0) >= record.revision:
            return
        self._absent.discard(record.key)
        try:
            skipped: list[str] = []
            service = record.service(skipped.append)
        except MalformedRecord as error:
            self._report_malformed(record.key, str(error))
            self._keys.pop(record.key, None)
            if before is not None:
                self._drop(before, Cause("engine", f"its record is malformed: {error}", self._engine))
            return
        if skipped:
            self._report_malformed(record.key, "; ".join(skipped), whole=False)
        else:
            self._mirror.clear_malformed(record.key)
        known = _Known(record.revision, service.name, tuple(node.id for node in service.nodes))
        told = cause is None
        cause = cause or self._cause_of(service.name, service.nodes[0].id)
        if before is not None:
            gone = before.ids if before.name != known.name else [each for each in before.ids if each not in known.ids]
            self._tell(self._mirror.drop(before.name, gone, cause))
        self._keys[record.key] = known
        self._tell(self._mirror.put(service, cause))
        for identity in known.ids if told else ():
            registration = self._own.get(known.name, identity)
            if (
                registration is not None
                and registration.revision != record.revision
                and not self._is_writing(known.name, identity)
            ):
                self._taken_over(registration)

    def _deleted(self, key: str, revision: int) -> None:
        self._mirror.clear_malformed(key)
        known = self._keys.get(key)
        if known is None or known.revision > revision:
            return
        del self._keys[key]
        self._absent.discard(key)
        self._drop(known, self._cause_of(known.name, known.ids[0]))
        for identity in known.ids:
            registration = self._own.get(known.name, identity)
            if registration is not None:
                self._tasks.run(self._missed(registration), f"Asking why {identity} is gone")

    def _drop(self, known: _Known, cause: Cause) -> None:
        self._tell(self._mirror.drop(known.name, known.ids, cause))

    def _reconcile(self) -> None:
        absent, self._absent = self._absent, set()
        for key in absent:
            known = self._keys.pop(key, None)
            if known is not None:
                self._drop(known, self._missing())

    async def _missed(self, registration: Registration) -> None:
        """A key of ours was deleted. Somebody deregistered it, unless its lease is gone: then etcd let it lapse."""
        name, identity = registration.key
        try:
            lapsed = registration.lease and not await self._api.keep_alive(registration.lease)
        except EngineUnavailable:
            return  # when it is back everything is written again
        if lapsed:
            await self._own.rewrite(name, identity, Cause("restored", "etcd let its lease lapse", self._engine))
        elif wire.key(name, identity) not in self._keys:
            self._own.forget(name, identity)

    # --- Writing ------------------------------------------------------------------------------------------------------

    async def write(self, registration: Registration, *, renew: bool) -> None:
        name, identity = registration.key
        key = wire.key(name, identity)
        if renew and registration.lease and key in self._keys and await self._api.keep_alive(registration.lease):
            return
        former, lease = registration.lease, 0
        if registration.ttl is not None:
            lease = await self._api.grant(math.ceil(registration.ttl))
        value = wire.value(registration.service, registration.service.nodes[0])
        with self._write_because(name, identity, registration.cause):
            revision = await self._api.put(key, value, lease)
        registration.lease, registration.revision = lease, revision
        self._put(wire.Record(key, value, revision, lease), self._keys.get(key), registration.cause)
        if former:
            self._tasks.run(self._api.revoke(former), "Giving a lease back")

    async def delete(self, name: str, identity: str, lease: int, cause: Cause) -> None:
        key = wire.key(name, identity)
        registration = self._own.get(name, identity)
        written = registration.revision if registration is not None else 0
        with self._write_because(name, identity, cause):
            # What we wrote ourselves goes only as we wrote it: a newer registration of the same id is somebody else's.
            revision, done = await self._api.delete(key, written)
        if not done:
            self.log.info("{id} stays on etcd: it is a newer registration than ours", id=identity)
            return
        known = self._keys.get(key)
        if known is not None and known.revision <= revision:
            del self._keys[key]
            self._absent.discard(key)
            self._drop(known, cause)
            if revision > self._revision:
                self._tombstones[key] = revision
        if lease:
            self._tasks.run(self._api.revoke(lease), "Giving a lease back")


def build(options: BackendOptions, agent: IAgent | None = None) -> EtcdRegistry:
    """The backend behind ``--registry=etcd``.

    :param agent: reaches etcd in place of our own. :raises ConfigError: an address or a certificate cannot be used.
    """
    bases = base_urls("etcd", options.addresses, "127.0.0.1", 2379, options.tls)
    trust = TrustOptions(options.ca_file, options.cert_file, options.key_file)
    fetcher = Fetcher(options.reactor, timeout=PATIENCE, tls=trust, agent=agent)
    return EtcdRegistry(options.reactor, Random(), fetcher, bases, options.username, options.password)
