"""The apps beside us, taken together: they come, change and go with the configuration file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from attrs import define
from twisted.application import service
from twisted.internet.defer import Deferred, gatherResults, succeed
from zope.interface import implementer

from sidecar.daemon.cmdline.settings import AppSettings
from sidecar.daemon.listening import ICertificates
from sidecar.daemon.localapp import LocalApp
from sidecar.health.heartbeat import Heartbeats
from sidecar.interfaces import IAppHealth
from sidecar.lifecycle import OrderedService
from sidecar.model import Cause, Reason

#: Makes an app of its settings, in place of the one before, if there was one.
Make = Callable[[AppSettings, LocalApp | None], LocalApp]
#: Has a restart find apps in maintenance, each with why; None: no more.
Keep = Callable[[Mapping[str, "Cause | None"]], Deferred[None]]


@implementer(IAppHealth)
class LocalApps(OrderedService):
    """All apps beside us. Together they are healthy when each one is."""

    def __init__(
        self,
        make: Make,
        clock: Any,
        patience: float,
        out: Mapping[str, Cause] = MappingProxyType({}),
        keep: Keep = lambda causes: succeed(None),
    ) -> None:
        """:param patience: seconds that one of them may take to leave.
        :param out: the apps that stay out of the registry from the start, by name. :param keep: told which those are
            that a restart is to find so."""
        super().__init__(clock, patience)
        self._make = make
        #: The ports at which we answer for apps: a part of its own, since they stay open until the news has spread that
        #: the apps have left, and what they took is answered then.
        self.ports = OrderedService(clock, patience)
        self._apps: dict[str, LocalApp] = {}
        #: Why apps stay out of the registry on somebody's word, by name: apps are made anew by a reload, this stays.
        self._out = dict(out)
        self._keep = keep
        #: What knows of an app how it is, by the name of its service. Changes as apps come and go.
        self.health_by_name: dict[str, IAppHealth] = {}

    @property
    def apps(self) -> tuple[LocalApp, ...]:
        """Those that there are."""
        return tuple(self._apps.values())

    def prepare(self, settings: tuple[AppSettings, ...]) -> AppChange:
        """Make what ``settings`` ask for, and start and stop nothing.

        :raises ConfigError: one of them cannot be had; everything is as it was."""
        made: list[LocalApp] = []
        renewed: list[tuple[ICertificates, Any]] = []
        gone = [app for id, app in self._apps.items() if id not in {one.id for one in settings}]
        change = AppChange(self, made, gone, renewed)
        try:
            for each in settings:
                before = self._apps.get(each.id)
                after = self._make(each, before) if before is None or before.settings != each else before
                if after is not before:
                    made.append(after)
                certificates = None if before is None or after.listener is None else after.listener.certificates
                if certificates is not None:
                    renewed.append((certificates, certificates.read(each.tls)))
        except Exception:
            change.discard()
            raise
        return change

    def replace(self, app: LocalApp) -> None:
        """Let an app run, in place of the one of the same id."""
        before = self._apps.get(app.settings.id)
        self._apps[app.settings.id] = app
        if before is not None:
            before.registrar.hand_over()
            self._disown(before.registrar)
            if before.inbound is not app.inbound:
                self._close(before)
            if app.served is not None:
                app.served.health = app.registrar
        if app.inbound is not None and app.inbound.parent is None:
            app.inbound.setServiceParent(self.ports)
        if app.name in self._out:
            app.registrar.keep_out(self._out[app.name])
        app.registrar.setServiceParent(self)
        self._name()

    def remove(self, app: LocalApp) -> None:
        """Let an app go: it leaves the registry."""
        del self._apps[app.settings.id]
        self._disown(app.registrar)
        self._close(app)
        self._name()

    def drain(self, patience: float) -> Deferred[None]:
        """Let what is under way at the ports of all apps finish. :param patience: seconds to wait at most."""
        draining = gatherResults([app.drain(patience) for app in self.apps])
        return draining.addCallback(lambda _: None)

    def _close(self, app: LocalApp) -> None:
        """Take nothing more at the port at which we answer for an app."""
        if app.inbound is not None:
            self._disown(app.inbound)
            app.drain(self._patience)

    def _disown(self, one: service.Service) -> None:
        stopping: Any = one.disownServiceParent()
        if stopping is not None:
            stopping.addErrback(lambda failure: self.log.failure("{name} did not stop", failure, name=one.name))

    def _name(self) -> None:
        self.health_by_name.clear()
        self.health_by_name.update({app.name: app.registrar for app in self.apps})

    # --- On an operator's word ----------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Of all apps."""
        return tuple(app.name for app in self.apps)

    def _named(self, name: str | None) -> tuple[LocalApp, ...]:
        return tuple(app for app in self.apps if name is None or app.name == name)

    async def leave(self, name: str | None, reason: Reason, why: str) -> None:
        """Take an app (None: all) out of the registry until it is let in again: for maintenance, after a restart too.

        :param why: in words. :raises StorageFailed: a restart would not find it; nothing was done."""
        cause = Cause(reason, why, "drain" if reason == "drained" else "operator")
        if reason == "maintenance":
            await self._keep({app.name: cause for app in self._named(name)})
        for app in self._named(name):
            self._out[app.name] = cause
            app.registrar.keep_out(cause)

    async def come_back(self, name: str | None) -> None:
        """Let an app (None: all) into the registry again. :raises StorageFailed: as for :meth:`leave`."""
        gone = [each for each in self._out if name is None or each == name]
        await self._keep({each: None for each in gone if self._out[each].reason == "maintenance"})
        for each in gone:
            self._out.pop(each, None)
        for app in self._named(name):
            app.registrar.let_in()

    def away(self) -> dict[str, str]:
        """The apps that are kept out of the registry, each with why."""
        return {app.name: app.registrar.kept_out for app in self.apps if app.registrar.kept_out}

    def not_ready(self, name: str | None) -> str:
        """Why an app (None: any) cannot be called, "" where it can."""
        for app in self._named(name):
            if app.registrar.kept_out:
                return f"{app.name} is kept out: {app.registrar.kept_out}"
            if app.registrar.healthy() is False:
                return f"{app.name}: {app.registrar.explain()}"
        return ""

    def heartbeats(self) -> Mapping[str, Heartbeats]:
        """The checks that wait for an app to say how it is, by name."""
        return {name: one for app in self.apps for name, one in app.heartbeats.items()}

    def stats(self) -> object:
        """What /stats shows of them: of one app that alone, of several each by its name, of none nothing."""
        if len(self._apps) < 2:
            return next((app.stats() for app in self.apps), None)
        return {app.name: app.stats() for app in self.apps}

    def healthy(self) -> bool | None:
        verdicts = [app.registrar.healthy() for app in self.apps]
        # One that is not checked says nothing.
        return False if False in verdicts else True if True in verdicts else None

    def status(self) -> int | None:
        """What the first one that is ill answered."""
        ill = (app.registrar.status() for app in self.apps if app.registrar.healthy() is False)
        return next(ill, None)

    def explain(self) -> str:
        return "; ".join(self._each(lambda app: (app.registrar.explain(),)))

    def warnings(self) -> tuple[str, ...]:
        return tuple(self._each(lambda app: app.registrar.warnings()))

    def _each(self, told: Callable[[LocalApp], tuple[str, ...]]) -> Iterator[str]:
        """What is told of the apps; with its name where there are several."""
        for app in self.apps:
            for text in told(app):
                yield text if len(self._apps) == 1 else f"{app.name}: {text}"


@define(eq=False)
class AppChange:
    """Apps that are made and wait to be run, and those that are to go."""

    _apps: LocalApps
    _made: list[LocalApp]
    _gone: list[LocalApp]
    _renewed: list[tuple[ICertificates, Any]]

    def commit(self) -> None:
        """Run what was made, let go what is no more, use the certificates that were read."""
        for certificates, read in self._renewed:
            certificates.use(read)
        for app in self._made:
            self._apps.replace(app)
        for app in self._gone:
            self._apps.remove(app)

    def discard(self) -> None:
        """Give back the ports that were taken for it."""
        for app in self._made:
            if app.listener is not None and app.inbound is not None and app.inbound.parent is None:
                app.listener.close()
