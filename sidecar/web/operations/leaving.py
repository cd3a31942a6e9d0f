"""``/drain``, ``/maintenance`` and ``/health/ready``: apps leave the registry on an operator's word, and come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from sidecar.errors import BadRequest, CallTimeout, NotFound
from sidecar.model import Reason
from sidecar.problems import AppUnhealthy
from sidecar.web.params import Params, query
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json
from sidecar.wire import durations

#: Seconds that a drain waits for calls under way unless its caller says otherwise, and at most.
DRAIN, LONGEST_DRAIN = 30.0, 3600.0
#: Seconds between two looks at what is under way.
_LOOK = 0.05
_LONGEST_REASON = 500


class IApps(Protocol):
    """What is needed of the apps beside us."""

    def names(self) -> tuple[str, ...]:
        """Of all apps."""

    async def leave(self, name: str | None, reason: Reason, why: str) -> None:
        """Take an app (None: all) out of the registry. :param reason: drained or maintenance. :param why: in words.

        :raises StorageFailed: a restart would not find it."""

    async def come_back(self, name: str | None) -> None:
        """End what :meth:`leave` began. :raises StorageFailed: a restart would not find it."""

    def away(self) -> dict[str, str]:
        """The apps that are out of the registry on somebody's word, each with why."""

    def not_ready(self, name: str | None) -> str:
        """Why an app (None: any) cannot be called, "" where it can."""


class LeavingResource(MethodResource):
    """The base of what acts upon one app, named by ``?app=``, or all of them."""

    def __init__(self, apps: IApps, methods: dict[str, Any]) -> None:
        super().__init__(methods)
        self._apps = apps

    def _named(self, asked: Params) -> str | None:
        """:raises NotFound: there is no app of that name."""
        name = asked.one("app")
        known = self._apps.names()
        if name is not None and name not in known:
            told = f"there are {', '.join(sorted(known))}" if known else "there is none"
            raise NotFound(f"no app {name!r} is beside this sidecar; {told}")
        return name


class DrainResource(LeavingResource):
    """POST takes apps out of the registry, waits for the news to spread and for calls under way, and answers when it is
    safe to stop. DELETE brings them back."""

    def __init__(self, apps: IApps, clock: IReactorTime, delay: float, under_way: Callable[[], int]) -> None:
        """:param delay: seconds for the news to spread. :param under_way: how many requests are being answered."""
        super().__init__(apps, {"POST": self._drain, "DELETE": self._undo})
        self._clock = clock
        self._delay = delay
        self._under_way = under_way
        self._draining = 0  # requests that wait here, which wait for none of each other

    async def _drain(self, request: Request) -> Answer:
        asked = query(request.uri).expect("app", "timeout")
        name, patience = self._named(asked), DRAIN
        given = asked.one("timeout")
        if given is not None:
            try:
                patience = durations.parse(given)
            except ValueError as error:
                raise BadRequest(f"timeout: {error}") from None
        self._draining += 1
        try:
            await self._wait(name, patience)
        finally:
            self._draining -= 1
        return of_json({"status": "ok", "drained": sorted(self._apps.away())})

    async def _wait(self, name: str | None, patience: float) -> None:
        """Take apps out, and wait until nothing is under way but drains. :raises CallTimeout: something still is."""
        deadline = self._clock.seconds() + min(patience, LONGEST_DRAIN)
        await self._apps.leave(name, "drained", "an operator drains it")
        await deferLater(self._clock, min(self._delay, patience))
        while (left := self._under_way() - self._draining) > 0:
            if self._clock.seconds() >= deadline:
                raise CallTimeout(f"{left} requests are still under way after {patience:g} s")
            await deferLater(self._clock, _LOOK)

    async def _undo(self, request: Request) -> Answer:
        await self._apps.come_back(self._named(query(request.uri).expect("app")))
        return of_json({"status": "ok"})


class MaintenanceResource(LeavingResource):
    """PUT keeps apps out of the registry until DELETE; GET tells which are out and why."""

    def __init__(self, apps: IApps) -> None:
        super().__init__(apps, {"GET": self._tell, "PUT": self._begin, "DELETE": self._end})

    def _tell(self, request: Request) -> Answer:
        return of_json({"away": self._apps.away()})

    async def _begin(self, request: Request) -> Answer:
        asked = query(request.uri).expect("app", "reason")
        reason = (asked.one("reason") or "maintenance")[:_LONGEST_REASON]
        await self._apps.leave(self._named(asked), "maintenance", reason)
        return of_json({"status": "ok", "away": self._apps.away()})

    async def _end(self, request: Request) -> Answer:
        await self._apps.come_back(self._named(query(request.uri).expect("app")))
        return of_json({"status": "ok", "away": self._apps.away()})


class LiveResource(MethodResource):
    """GET says that the process answers, which is all that being alive takes."""

    def __init__(self) -> None:
        super().__init__({"GET": lambda request: of_json({"status": "ok"})})


class ReadyResource(LeavingResource):
    """GET says whether calls should come: not while the sidecar or the app leaves, or the app is ill."""

    def __init__(
        self, apps: IApps, draining: Callable[[], bool], warnings: Callable[[], tuple[str, ...]] = tuple
    ) -> None:
        """:param draining: whether the sidecar is stopping. :param warnings: what is wrong and keeps nobody away."""
        super().__init__(apps, {"GET": self._tell})
        self._draining = draining
        self._warnings = warnings

    def _tell(self, request: Request) -> Answer:
        name = self._named(query(request.uri).expect("app"))
        why = "the sidecar is stopping" if self._draining() else self._apps.not_ready(name)
        if why:
            raise AppUnhealthy(f"not ready: {why}")
        warnings = self._warnings()
        return of_json({"status": "ok", **({"warnings": list(warnings)} if warnings else {})})
