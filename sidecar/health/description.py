"""What an app says of its endpoints: asked when it becomes healthy, and registered with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.interfaces import IRegistry, IWatch, IWatcher
from sidecar.model import UNSAID, BackendState, Caller, Cause, Endpoint, Service
from sidecar.waiting import Backoff
from sidecar.wire.endpoints import merging

#: Seconds until an app that did not say is asked again, doubling from the first to the last.
FIRST_ASK, LAST_ASK = 1.0, 30.0


@define(eq=False)
class AppEndpoints:
    """The endpoints of one app, as far as they are known. :ivar named: by the settings. :ivar by_name: all of them."""

    named: tuple[Endpoint, ...] = ()
    by_name: Mapping[str, Endpoint] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.by_name = {each.name: each for each in self.named}

    def describe(self, said: tuple[Endpoint, ...]) -> None:
        """:param said: by the app itself. What the settings name counts more."""
        self.by_name = {each.name: each for each in merging.merged(said, self.named)}


@implementer(IWatch)
@define(eq=False)
class _Watch:
    """The registrar's: it ends when the registrar does, and the asking with it."""

    _watch: IWatch
    _ended: Callable[[], None]

    def cancel(self) -> None:
        self._ended()
        self._watch.cancel()


@implementer(IRegistry)
class DescribingRegistry:
    """The registry as the registrar of one app sees it: what is registered has the endpoints that the app says.

    It is asked once for each time that it comes into the registry. Where it does not answer, it is registered by what
    is known and asked again, until it does or leaves.
    """

    log = Logger()

    def __init__(
        self,
        registry: IRegistry,
        endpoints: AppEndpoints,
        ask: Callable[[], Deferred[tuple[Endpoint, ...]]],
        clock: IReactorTime,
    ) -> None:
        """:param ask: has the app say it, within a time of its own; fails with what is wrong in words."""
        self._registry = registry
        self._endpoints = endpoints
        self._ask = ask
        self._clock = clock
        self._asked = False
        self._again: IDelayedCall | None = None
        self._asking: Deferred[None] | None = None
        self._backoff = Backoff(FIRST_ASK, LAST_ASK, Random())
        self._said = ""

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return Deferred.fromCoroutine(self._register(service, ttl, caller, cause))

    async def _register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause) -> None:
        known = True
        if not self._asked:
            self._asked = True
            known = await self._described()
        await self._registry.register(self._of(service), ttl, caller, cause)
        if not known and self._asked:
            self._later(service, ttl, caller)

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        self._asked = False
        self._stop()
        return self._registry.deregister(service, caller, cause)

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        return self._registry.get(name)

    def list(self) -> Deferred[tuple[str, ...]]:
        return self._registry.list()

    def watch(self, watcher: IWatcher) -> IWatch:
        return _Watch(self._registry.watch(watcher), self._stop)

    def state(self) -> BackendState:
        return self._registry.state()

    def _of(self, service: Service) -> Service:
        return evolve(service, endpoints=tuple(self._endpoints.by_name.values()))

    async def _described(self) -> bool:
        """Ask. :returns: whether the app has said it."""
        try:
            said = await self._ask()
        except CancelledError:
            self._asked = False
            raise
        except Exception as error:
            text = f"the app does not say which endpoints it has, and is asked again: {error}"
            if text != self._said:
                self.log.warn("{text}", text=text)
            self._said = text
            return False
        self._said = ""
        self._endpoints.describe(said)
        return True

    def _later(self, service: Service, ttl: float | None, caller: Caller) -> None:
        """Ask again after a while, and register what comes of it."""
        self._stop()

        def ask() -> None:
            self._again = None
            self._asking = Deferred.fromCoroutine(self._once_more(service, ttl, caller))
            self._asking.addErrback(lambda failure: failure.trap(CancelledError) and None)

        self._again = self._clock.callLater(self._backoff.pause(), ask)

    async def _once_more(self, service: Service, ttl: float | None, caller: Caller) -> None:
        if not await self._described():
            self._later(service, ttl, caller)
            return
        self._backoff.reset()
        try:
            await self._registry.register(self._of(service), ttl, caller, Cause("changed", by="sidecar"))
        except CancelledError:
            raise
        except Exception as error:
            self.log.warn("The app's endpoints could not be registered: {error}", error=str(error))
            self._later(service, ttl, caller)

    def _stop(self) -> None:
        again, self._again = self._again, None
        if again is not None and again.active():
            again.cancel()
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
