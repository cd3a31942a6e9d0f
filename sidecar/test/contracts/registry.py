"""What every registry promises: one suite that judges the embedded one and the clients of all engines alike."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from sidecar.errors import NotFound
from sidecar.interfaces import IRegistry, IWatch
from sidecar.model import ANONYMOUS, Caller, Cause, Change, Endpoint, Node, Service, Value
from sidecar.registry.watchers import CallbackWatcher
from sidecar.test.doubles.watcher import RecordingWatcher

#: Seconds until a promise that has no time of its own counts as broken.
PATIENCE = 20.0


def a_service(name: str = "", *, version: str = "1.0.0", nodes: int = 1) -> Service:
    """A service with everything that a registry must keep, under a name of its own."""
    name = name or f"go.micro.srv.test-{uuid.uuid4().hex[:8]}"
    return Service(
        name,
        version,
        endpoints=(
            Endpoint(
                "Say.Hello",
                Value("Request", "Request", (Value("name", "string"),)),
                Value("Response", "Response", (Value("msg", "string"),)),
                {"stream": "true"},
            ),
        ),
        nodes=tuple(
            Node(f"{name}-{uuid.uuid4()}", "127.0.0.1", 10000 + index, {"protocol": "mucp", "zone": "ä"})
            for index in range(nodes)
        ),
    )


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds)


class RegistryContract:
    """Mix in before ``twisted.trial.unittest.TestCase`` and give ``make_registry``."""

    #: The shortest TTL that the promise of exactness is tested with, in seconds.
    ttl = 2.0
    #: Whether two clients of the engine see one another: ``make_registry`` twice gives two views.
    shared = False

    async def make_registry(self) -> Any:
        """A started registry; the suite stops it. An engine that is shared is to be had by calling this again."""
        raise NotImplementedError

    async def pass_time(self, seconds: float) -> None:
        await sleep(seconds)

    async def _registry(self) -> Any:
        registry = await self.make_registry()
        self.addCleanup(registry.stopService)  # type: ignore[attr-defined]
        return registry

    async def until(self, check: Callable[[], Awaitable[Any]], what: str) -> Any:
        """Ask ``check`` again and again until it gives something true."""
        waited = 0.0
        while waited < PATIENCE:
            found = await check()
            if found:
                return found
            await self.pass_time(0.05)
            waited += 0.05
        raise AssertionError(f"not within {PATIENCE} s: {what}")

    async def nodes(self, registry: Any, name: str) -> set[str]:
        """The ids of the nodes of ``name``; empty where it is not found."""
        try:
            return {node.id for service in await registry.get(name) for node in service.nodes}
        except NotFound:
            return set()

    async def _becomes(self, registry: Any, name: str, ids: set[str]) -> None:
        async def check() -> bool:
            return await self.nodes(registry, name) == ids

        await self.until(check, f"{name} has the nodes {ids}")

    # --- The seam -------------------------------------------------------------------------------------------------

    async def test_interface(self) -> None:
        """It is an IRegistry, and so is what it gives."""
        registry = await self._registry()
        verifyObject(IRegistry, registry)
        watch = registry.watch(RecordingWatcher())
        verifyObject(IWatch, watch)
        watch.cancel()
        watch.cancel()

    async def test_state_is_fresh(self) -> None:
        """While all is well the state says so."""
        registry = await self._registry()
        await registry.list()

        async def check() -> bool:
            state = registry.state()
            return bool(state.connected and state.stale_since is None and state.kind)

        await self.until(check, "connected and fresh")

    # --- Reading back ---------------------------------------------------------------------------------------------

    async def test_unknown_is_not_found(self) -> None:
        """A service that nobody registered is NotFound, and the message names it."""
        registry = await self._registry()
        for _ in range(2):
            asking: Deferred[Any] = maybeDeferred(registry.get, "nobody.home")
            said = await asking.addCallbacks(
                repr, lambda failure: f"{failure.trap(NotFound).__name__}: {failure.value}"
            )
            assert said.startswith("NotFound") and "nobody.home" in said, said

    async def test_keeps_everything(self) -> None:
        """Version, endpoints, and every node with its address and metadata come back as they were given."""
        registry = await self._registry()
        service = a_service(nodes=3)
        await registry.register(service, None, ANONYMOUS)
        (found,) = await registry.get(service.name)
        assert (found.name, found.version, found.endpoints) == (service.name, service.version, service.endpoints)
        key = lambda node: node.id  # noqa: E731  # a sort key, used twice in the next line
        assert sorted(found.nodes, key=key) == sorted(service.nodes, key=key), found.nodes

    async def test_empty_version(self) -> None:
        """A service without version, endpoints and metadata is kept as well."""
        registry = await self._registry()
        service = evolve(a_service(), version="", endpoints=())
        service = evolve(service, nodes=(evolve(service.nodes[0], metadata={}),))
        await registry.register(service, None, ANONYMOUS)
        (found,) = await registry.get(service.name)
        assert (found.version, found.endpoints) == ("", ())
        assert found.nodes == service.nodes

    async def test_names_of_all_kinds(self) -> None:
        """Names that need escaping on the wire do not get mixed up."""
        registry = await self._registry()
        tail = uuid.uuid4().hex[:8]
        for name in (f"topic:x.{tail}", f"with space {tail}", f"ünï {tail}", f"a/b?c=d&e#{tail}"):
            service = a_service(name)
            await registry.register(service, None, ANONYMOUS)
            assert await self.nodes(registry, name) == {service.nodes[0].id}, name
            assert name in await registry.list(), name

    async def test_ipv6(self) -> None:
        """An IPv6 address comes back bare."""
        registry = await self._registry()
        service = a_service()
        service = evolve(service, nodes=(evolve(service.nodes[0], address="::1"),))
        await registry.register(service, None, ANONYMOUS)
        (found,) = await registry.get(service.name)
        assert (found.nodes[0].address, found.nodes[0].port) == ("::1", service.nodes[0].port)

    async def test_list(self) -> None:
        """The list has each name once, sorted, as soon as it is registered."""
        registry = await self._registry()
        tail = uuid.uuid4().hex[:8]
        one, two = a_service(f"b.{tail}"), a_service(f"a.{tail}")
        again = evolve(a_service(f"b.{tail}"), version="2")
        for service in (one, two, again):
            await registry.register(service, None, ANONYMOUS)
        names = await registry.list()
        assert list(names) == sorted(names), names
        assert [name for name in names if tail in name] == [f"a.{tail}", f"b.{tail}"], names

    async def test_versions(self) -> None:
        """Each version is a service of its own with its own nodes."""
        registry = await self._registry()
        one = a_service(version="1", nodes=2)
        two = a_service(one.name, version="2")
        await registry.register(one, None, ANONYMOUS)
        await registry.register(two, None, ANONYMOUS)
        found = {service.version: {node.id for node in service.nodes} for service in await registry.get(one.name)}
        assert found == {"1": {node.id for node in one.nodes}, "2": {two.nodes[0].id}}, found

    # --- Writing again --------------------------------------------------------------------------------------------

    async def test_nodes_add_up(self) -> None:
        """Nodes registered one by one are all there."""
        registry = await self._registry()
        one, two = a_service(version="1"), a_service("", version="1")
        two = evolve(two, name=one.name)
        await registry.register(one, None, ANONYMOUS)
        await registry.register(two, None, ANONYMOUS)
        assert await self.nodes(registry, one.name) == {one.nodes[0].id, two.nodes[0].id}

    async def test_register_again_alters(self) -> None:
        """A node that is registered again elsewhere has moved, to another version too."""
        registry = await self._registry()
        service = a_service()
        await registry.register(service, None, ANONYMOUS)
        moved = evolve(service, version="2", nodes=(evolve(service.nodes[0], port=4242),))
        await registry.register(moved, None, ANONYMOUS)

        async def check() -> bool:
            found = [each for each in await registry.get(service.name) if each.nodes]
            return [(each.version, [node.port for node in each.nodes]) for each in found] == [("2", [4242])]

        await self.until(check, "the node is at version 2 alone")

    async def test_deregister_one_node(self) -> None:
        """Deregistering takes out the named nodes and no other; their ids are all it needs."""
        registry = await self._registry()
        service = a_service(nodes=3)
        await registry.register(service, None, ANONYMOUS)
        bare = Service(service.name, nodes=tuple(Node(node.id, "", 0) for node in service.nodes[:2]))
        await registry.deregister(bare, ANONYMOUS)
        assert await self.nodes(registry, service.name) == {service.nodes[2].id}

    async def test_deregister_last(self) -> None:
        """With its last node the service is gone, from the list as well."""
        registry = await self._registry()
        service = a_service()
        await registry.register(service, 60.0, ANONYMOUS)
        await registry.deregister(service, ANONYMOUS)
        assert await self.nodes(registry, service.name) == set()
        assert service.name not in await registry.list()

    async def test_deregister_unknown(self) -> None:
        """Deregistering what is not there is no error."""
        registry = await self._registry()
        await registry.deregister(a_service(), ANONYMOUS)

    # --- Time -----------------------------------------------------------------------------------------------------

    async def test_expires(self) -> None:
        """A node is there until its TTL is over, and then is gone."""
        registry = await self._registry()
        service = a_service()
        await registry.register(service, self.ttl, ANONYMOUS)
        await self.pass_time(self.ttl * 0.5)
        assert await self.nodes(registry, service.name) == {service.nodes[0].id}
        await self.pass_time(self.ttl * 0.5 + 0.1)
        await self._becomes(registry, service.name, set())

    async def test_renewal_extends(self) -> None:
        """Registering again starts the TTL anew."""
        registry = await self._registry()
        service = a_service()
        await registry.register(service, self.ttl, ANONYMOUS)
        for _ in range(3):
            await self.pass_time(self.ttl * 0.5)
            await registry.register(service, self.ttl, ANONYMOUS)
        await self.pass_time(self.ttl * 0.4)
        assert await self.nodes(registry, service.name) == {service.nodes[0].id}

    async def test_ttl_can_be_lifted(self) -> None:
        """A node registered again without a TTL stays."""
        registry = await self._registry()
        service = a_service()
        await registry.register(service, self.ttl, ANONYMOUS)
        await registry.register(service, None, ANONYMOUS)
        await self.pass_time(self.ttl + 0.5)
        assert await self.nodes(registry, service.name) == {service.nodes[0].id}

    async def test_ttl_is_each_nodes_own(self) -> None:
        """One node's expiry leaves its neighbours."""
        registry = await self._registry()
        brief = a_service()
        lasting = evolve(a_service(), name=brief.name)
        await registry.register(lasting, None, ANONYMOUS)
        await registry.register(brief, self.ttl, ANONYMOUS)
        await self.pass_time(self.ttl + 0.1)
        await self._becomes(registry, brief.name, {lasting.nodes[0].id})

    # --- Watching -------------------------------------------------------------------------------------------------

    async def _watched(self, registry: Any) -> list[Change]:
        seen: list[Change] = []
        watch = registry.watch(RecordingWatcher(seen))
        self.addCleanup(watch.cancel)  # type: ignore[attr-defined]
        return seen

    async def _seen(self, seen: list[Change], action: str, identity: str) -> Change:
        async def check() -> Change | None:
            for change in seen:
                if change.action == action and identity in {node.id for node in change.service.nodes}:
                    return change
            return None

        found: Change = await self.until(check, f"a {action} of {identity} in {seen}")
        return found

    async def test_watch(self) -> None:
        """A watcher hears of the creation, alteration and removal of a node, with just that node, and of no renewal."""
        registry = await self._registry()
        service = a_service()
        (node,) = service.nodes
        await self.nodes(registry, service.name)
        seen = await self._watched(registry)
        await registry.register(service, 60.0, ANONYMOUS)
        change = await self._seen(seen, "create", node.id)
        assert change.service.name == service.name and change.service.nodes == (node,), change
        await registry.register(service, 60.0, ANONYMOUS)
        await registry.register(evolve(service, nodes=(evolve(node, port=4242),)), 60.0, ANONYMOUS)
        change = await self._seen(seen, "update", node.id)
        assert change.service.nodes[0].port == 4242
        await registry.deregister(service, ANONYMOUS)
        await self._seen(seen, "delete", node.id)
        ours = [(change.action, change.reason) for change in seen if change.service.name == service.name]
        expected = [("create", "registered"), ("update", "changed"), ("delete", "deregistered")]
        assert ours == expected, ours

    async def test_why(self) -> None:
        """A watcher hears why, by whom and when, in the words of whoever did it; no change is without nodes."""
        registry = await self._registry()
        service = a_service()
        await self.nodes(registry, service.name)
        seen = await self._watched(registry)
        alice = Caller("alice", address="127.0.0.1", authenticated_by="token")
        await registry.register(service, None, alice)
        change = await self._seen(seen, "create", service.nodes[0].id)
        assert (change.reason, change.by) == ("registered", "caller alice"), change
        failed = Cause("check failed", "http://127.0.0.1:9090/ok answered 503, 3 of 3", "check")
        await registry.deregister(service, ANONYMOUS, failed)
        change = await self._seen(seen, "delete", service.nodes[0].id)
        assert (change.reason, change.detail, change.by) == (failed.reason, failed.detail, "check"), change
        assert all(change.nodes for change in seen), seen
        assert all(change.time > 1_700_000_000 for change in seen), seen

    async def test_watch_hears_expiry(self) -> None:
        """A TTL that runs out reaches watchers with the reason ``expired``, though nobody asks."""
        registry = await self._registry()
        service = a_service()
        await self.nodes(registry, service.name)
        seen = await self._watched(registry)
        await registry.register(service, self.ttl, ANONYMOUS)
        await self.pass_time(self.ttl + 0.1)
        change = await self._seen(seen, "delete", service.nodes[0].id)
        assert (change.reason, change.by) == ("expired", "ttl"), change

    async def test_watch_is_not_reentrant(self) -> None:
        """No watcher is called inside the call that caused the change."""
        registry = await self._registry()
        service = a_service()
        await self.nodes(registry, service.name)
        inside = False
        found: list[bool] = []
        watch = registry.watch(CallbackWatcher(lambda change: found.append(inside), lambda name: None))
        self.addCleanup(watch.cancel)  # type: ignore[attr-defined]
        inside = True
        registering: Deferred[None] = registry.register(service, None, ANONYMOUS)
        inside = False
        await registering

        async def check() -> bool:
            return bool(found)

        await self.until(check, "the watcher is told")
        assert not any(found)

    async def test_watch_cancelled(self) -> None:
        """After ``cancel`` nothing more is heard."""
        registry = await self._registry()
        service = a_service()
        await self.nodes(registry, service.name)
        gone: list[Change] = []
        registry.watch(RecordingWatcher(gone)).cancel()
        seen = await self._watched(registry)
        await registry.register(service, None, ANONYMOUS)
        await self._seen(seen, "create", service.nodes[0].id)
        assert gone == []

    async def test_bad_watcher_hurts_nobody(self) -> None:
        """What one watcher raises is logged; the others hear all the same."""
        registry = await self._registry()
        service = a_service()
        await self.nodes(registry, service.name)

        def bad(change: Change) -> None:
            raise ZeroDivisionError("a watcher's own fault")

        watch = registry.watch(CallbackWatcher(bad, lambda name: None))
        seen = await self._watched(registry)
        await registry.register(service, None, ANONYMOUS)
        await self._seen(seen, "create", service.nodes[0].id)
        watch.cancel()
        assert self.flushLoggedErrors(ZeroDivisionError)  # type: ignore[attr-defined]

    # --- Two views of one engine ----------------------------------------------------------------------------------

    async def test_seen_through_another(self) -> None:
        """What one client registers, another that asked before finds soon, and soon misses when it is taken out."""
        if not self.shared:
            return
        here, there = await self._registry(), await self._registry()
        service = a_service(nodes=2)
        assert await self.nodes(there, service.name) == set()
        seen = await self._watched(there)
        await here.register(service, 60.0, ANONYMOUS)
        await self._becomes(there, service.name, {node.id for node in service.nodes})
        await self._seen(seen, "create", service.nodes[0].id)
        await here.deregister(service, ANONYMOUS)
        await self._becomes(there, service.name, set())
        await self._seen(seen, "delete", service.nodes[1].id)

    async def test_both_write(self) -> None:
        """Two clients' nodes of one service stand side by side."""
        if not self.shared:
            return
        here, there = await self._registry(), await self._registry()
        one = a_service()
        two = evolve(a_service(), name=one.name)
        await here.register(one, None, ANONYMOUS)
        await there.register(two, None, ANONYMOUS)
        for registry in (here, there):
            await self._becomes(registry, one.name, {one.nodes[0].id, two.nodes[0].id})
