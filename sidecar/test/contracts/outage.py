"""What a registry with an engine of its own promises when that engine goes away, comes back, or holds rubbish."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from sidecar.errors import EngineUnavailable, NotFound
from sidecar.model import ANONYMOUS, Node, Service
from sidecar.test.contracts.registry import a_service, sleep

PATIENCE = 25.0


class OutageContract:
    """Mix in before ``twisted.trial.unittest.TestCase``."""

    timeout = 120

    async def make_registry(self) -> Any:
        """A started registry of the engine."""
        raise NotImplementedError

    async def engine_gone(self) -> None:
        """Have the engine go away, as by a crash."""
        raise NotImplementedError

    async def engine_back(self, *, wiped: bool) -> None:
        """Have it come back where it was, with or without what it held."""
        raise NotImplementedError

    #: The ids of nodes in that rubbish of which only a part is malformed.
    partly: tuple[str, ...] = ()

    async def put_rubbish(self, name: str) -> list[str]:
        """Put malformed records of service ``name`` into the engine. :returns: what names each in the log."""
        raise NotImplementedError

    async def pass_time(self, seconds: float) -> None:
        await sleep(seconds)

    async def _registry(self) -> Any:
        registry = await self.make_registry()
        self.addCleanup(registry.stopService)  # type: ignore[attr-defined]
        await registry.list()
        return registry

    async def _ids(self, registry: Any, name: str) -> set[str]:
        try:
            return {node.id for service in await registry.get(name) for node in service.nodes}
        except NotFound:
            return set()

    async def _becomes(self, registry: Any, name: str, ids: set[str], within: float = PATIENCE) -> None:
        waited = 0.0
        while await self._ids(registry, name) != ids:
            assert waited < within, f"{name}: {await self._ids(registry, name)} is not {ids} after {within} s"
            await self.pass_time(0.05)
            waited += 0.05

    async def _stale(self, registry: Any) -> None:
        for _ in range(200):
            if registry.state().stale_since is not None:
                return
            await self.pass_time(0.05)
        raise AssertionError("the loss of the engine is not noticed")

    async def _fresh(self, registry: Any) -> None:
        for _ in range(400):
            if registry.state().stale_since is None:
                return
            await self.pass_time(0.05)
        raise AssertionError("the return of the engine is not noticed")

    async def _refused(self, action: Any, *arguments: Any) -> None:
        """The call fails as unavailable."""
        asking: Deferred[Any] = maybeDeferred(action, *arguments)
        said = await asking.addCallbacks(repr, lambda failure: failure.trap(EngineUnavailable) and "refused")
        assert said == "refused", said

    async def test_last_known_good(self) -> None:
        """The engine is gone: reads go on with the last answer and say so, writes and unknown reads are refused."""
        registry = await self._registry()
        service = a_service(nodes=2)
        await registry.register(service, 60.0, ANONYMOUS)
        ids = {node.id for node in service.nodes}
        await self._becomes(registry, service.name, ids)
        await self.engine_gone()
        await self._stale(registry)
        assert not registry.state().connected and registry.state().detail
        assert await self._ids(registry, service.name) == ids
        assert service.name in await registry.list()
        await self._refused(registry.register, a_service(), None, ANONYMOUS)
        await self._refused(registry.deregister, service, ANONYMOUS)
        assert await self._ids(registry, service.name) == ids
        await self.engine_back(wiped=False)
        await self._fresh(registry)
        assert registry.state().connected
        await registry.register(a_service(), None, ANONYMOUS)

    async def test_comes_back_empty(self) -> None:
        """The engine forgot everything: what was registered here is there again, and nobody misses it meanwhile."""
        await self._missed_by_nobody(wiped=True)

    async def test_comes_back_as_it_was(self) -> None:
        """The engine remembers: nobody misses anything either."""
        await self._missed_by_nobody(wiped=False)

    async def _missed_by_nobody(self, *, wiped: bool) -> None:
        here, there = await self._registry(), await self._registry()
        lasting, leased = a_service(), a_service()
        await here.register(lasting, None, ANONYMOUS)
        await here.register(leased, 60.0, ANONYMOUS)
        wanted = {service.name: {service.nodes[0].id} for service in (lasting, leased)}
        for registry in (here, there):
            for name, ids in wanted.items():
                await self._becomes(registry, name, ids)
        missed: list[str] = []

        async def look() -> None:
            for name, ids in wanted.items():
                for who, registry in (("here", here), ("there", there)):
                    if await self._ids(registry, name) != ids:
                        missed.append(f"{name} from {who}")

        await self.engine_gone()
        for registry in (here, there):
            await self._stale(registry)
            await look()
        await self.engine_back(wiped=wiped)
        for registry in (here, there):
            await self._fresh(registry)
        newcomer = await self._registry()  # knows nothing but what is on the engine now
        for name, ids in wanted.items():
            await self._becomes(newcomer, name, ids, within=8.0)
        for _ in range(90):
            await look()
            await self.pass_time(0.1)
        assert not missed, f"{len(missed)} times: {missed[:4]}"

    async def test_renewal_while_away(self) -> None:
        """A renewal that the engine cannot take is refused, and keeps the node in its place all the same."""
        registry = await self._registry()
        kept, lapsing = a_service(), a_service()
        await registry.register(kept, 4.0, ANONYMOUS)
        await registry.register(lapsing, 4.0, ANONYMOUS)
        await self._becomes(registry, kept.name, {kept.nodes[0].id})
        await self._becomes(registry, lapsing.name, {lapsing.nodes[0].id})
        await self.engine_gone()
        await self._stale(registry)
        for _ in range(3):
            await self._refused(registry.register, kept, 4.0, ANONYMOUS)
            await self.pass_time(1.5)
        assert await self._ids(registry, kept.name) == {kept.nodes[0].id}
        assert await self._ids(registry, lapsing.name) == set()
        await self._refused(registry.register, kept, 4.0, ANONYMOUS)
        await self.engine_back(wiped=False)
        await self._fresh(registry)
        await registry.register(kept, 60.0, ANONYMOUS)
        other = await self._registry()
        await self._becomes(other, kept.name, {kept.nodes[0].id})
        await self._becomes(other, lapsing.name, set())

    async def test_dead_meanwhile(self) -> None:
        """A stranger's node that nobody registers again is gone when its owner has had time to."""
        registry = await self._registry()
        stranger = await self.make_registry()
        service = a_service()
        await stranger.register(service, None, ANONYMOUS)
        await self._becomes(registry, service.name, {service.nodes[0].id})
        await stranger.stopService()
        await self.engine_gone()
        await self._stale(registry)
        await self.engine_back(wiped=True)
        await self._becomes(registry, service.name, set())

    async def test_taken_out_by_another(self) -> None:
        """What another client took out stays out, though it was registered here and the engine forgot everything."""
        here, there = await self._registry(), await self._registry()
        service, witness = a_service(), a_service()
        await here.register(service, None, ANONYMOUS)
        await here.register(witness, None, ANONYMOUS)
        await self._becomes(here, service.name, {service.nodes[0].id})
        await there.deregister(service, ANONYMOUS)
        await self._becomes(here, service.name, set())
        await self.pass_time(0.5)
        await self.engine_gone()
        await self._stale(here)
        await self.engine_back(wiped=True)
        await self._fresh(here)
        other = await self._registry()
        await self._becomes(other, witness.name, {witness.nodes[0].id})
        assert await self._ids(other, service.name) == set()

    async def test_malformed_records(self) -> None:
        """Rubbish in the engine is left out with one log line that names it, and hides nothing else: neither another
        record nor, where it is but a part of one, the rest."""
        lines: list[str] = []

        @provider(ILogObserver)
        def hear(event: LogEvent) -> None:
            if event.get("record") is not None and event.get("why") is not None:
                lines.append(str(event["record"]))

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)  # type: ignore[attr-defined]
        registry = await self._registry()
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        records = await self.put_rubbish(service.name)
        await self._becomes(registry, service.name, {service.nodes[0].id, *self.partly})
        another = evolve(a_service(), name=service.name)
        await registry.register(another, None, ANONYMOUS)
        await self._becomes(registry, service.name, {service.nodes[0].id, another.nodes[0].id, *self.partly})
        assert service.name in await registry.list()
        for _ in range(100):
            if len(lines) >= len(records):
                break
            await self.pass_time(0.05)
        await registry.deregister(Service(service.name, nodes=(Node(another.nodes[0].id, "", 0),)), ANONYMOUS)
        await self._becomes(registry, service.name, {service.nodes[0].id, *self.partly})
        assert sorted(lines) == sorted(records), f"{sorted(lines)} is not {sorted(records)}"
