"""The sidecar of ``micro dev``, in this process: its settings with the app as it is found, and the calls that pass."""

from __future__ import annotations

import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import globalLogBeginner
from twisted.python.usage import UsageError

from sidecar.cli.dev.runner import DevSettings, Runner
from sidecar.cli.dev.screen import Screen
from sidecar.cli.invocation import coloured
from sidecar.daemon import tap
from sidecar.daemon.cmdline import sources
from sidecar.daemon.cmdline.options import Options
from sidecar.daemon.localapp import LocalApp
from sidecar.errors import ConfigError
from sidecar.model import Call, Fault, Reply
from sidecar.net.reactor.epoll import ensure
from sidecar.rpc.tap import Tap, TapRequest
from sidecar.waiting import wall
from sidecar.web.app.app import App
from sidecar.wire.headers import request_id

#: Calls a second that are shown.
_MOST_CALLS = 200.0
#: Calls of our own that are remembered, and seconds within which the end of one is known that the app has answered.
_REMEMBERED, _TOLD_WITHIN = 1000, 0.1


class DevOptions(Options):
    """The sidecar's options with an app that may not be there yet.

    :ivar where: where it listens, None while that is not known.
    :ivar said: where the user said that it listens, None where it is to be found out.
    """

    where: tuple[str, int] | None = None
    said: tuple[str, int] | None = None

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        """:param name: the service that the app is, unless flags or variables say so."""
        super().__init__(environ, program="micro dev")
        self._name = name

    @property
    def service(self) -> str:
        """The service that the app is."""
        return str(self["server_name"])

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        arguments = list(options or ())
        try:
            given = {**sources.from_environment(self._environ)[0], **sources.from_arguments(arguments, self._program)}
        except sources.HelpAsked:
            given = {}
        more = [] if "server_name" in given else [f"--server_name={self._name}"]
        if "server_address" not in given:
            # Somewhere, while that is not known: what else is said of the app is checked in any case.
            host, port = self.where or ("127.0.0.1", 1)
            more.append(f"--server_address={f'[{host}]' if ':' in host else host}:{port}")
        super().parseOptions([*arguments, *more])
        self._arguments = arguments
        if "server_address" in given:
            self.said = self["server_address"]
        if self.where is None:
            apps = tuple(app for app in self.settings.apps if app.name != self.service)
            self.settings = evolve(self.settings, apps=apps)

    def again(self) -> DevOptions:
        fresh = DevOptions(self._name, self._environ)
        fresh._ids, fresh.where = self._ids, self.where
        fresh.parseOptions(self._arguments)
        return fresh


class ServedCalls:
    """Shows calls that come to the app from elsewhere, at the port at which we answer for it."""

    def __init__(self, reactor: Any, screen: Screen) -> None:
        self._reactor = reactor
        self._screen = screen
        #: The calls that we made ourselves, by the ids of their requests: they are shown already.
        self._made: OrderedDict[str, None] = OrderedDict()

    def made(self, told: dict[str, Any]) -> None:
        """A call that we made has ended."""
        self._made[told["id"]] = None
        if len(self._made) > _REMEMBERED:
            self._made.popitem(last=False)
        self._screen.call(told)

    def observe(self, app: LocalApp) -> None:
        """Show the calls of this app."""
        if app.served is not None:
            app.served.observer = partial(self._began, app.served)

    def _began(self, app: App, call: Call) -> Callable[[Reply | Fault], None]:
        began = self._reactor.seconds()

        def ended(answer: Reply | Fault) -> None:
            told = {
                "service": app.name,
                "method": call.method,
                "node": app.node.id,
                "address": app.node.hostport,
                "total_ms": (self._reactor.seconds() - began) * 1000,
                "outcome": "fault" if isinstance(answer, Fault) else "answered",
                "error": answer.detail if isinstance(answer, Fault) else "",
            }
            self._reactor.callLater(_TOLD_WITHIN, self._show, request_id(call), told)

        return ended

    def _show(self, identity: str, told: dict[str, Any]) -> None:
        if identity not in self._made:
            self._screen.call(told)


class AppRegistration:
    """Has the app registered by the sidecar's own means: its settings are read again, with the app or without it."""

    def __init__(self, root: tap.Root, served: ServedCalls) -> None:
        self._root = root
        self._served = served

    def register(self, host: str, port: int) -> str:
        """:returns: why it cannot be, "" where it can."""
        return self._use((host, port))

    def deregister(self) -> None:
        """Have it there no more."""
        self._use(None)

    def _use(self, where: tuple[str, int] | None) -> str:
        assert isinstance(self._root.parsed, DevOptions)
        before, self._root.parsed.where = self._root.parsed.where, where
        try:
            self._root.read_again()
        except (ConfigError, UsageError) as error:
            self._root.parsed.where = before
            return str(error)
        for app in self._root.daemon.apps.apps:
            self._served.observe(app)
        return ""


class Dev:
    """App and sidecar together: they begin in this order: sidecar, app, and end in that: registration, app, sidecar."""

    def __init__(self, reactor: Any, root: tap.Root, runner: Runner, screen: Screen) -> None:
        self._reactor = reactor
        self._root = root
        self._runner = runner
        self._screen = screen
        self._ending = False

    def start(self) -> None:
        """Begin, once the reactor runs."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        self._screen.when_closed = self._end
        self._screen.dev("Ctrl-C ends all of it")
        self._runner.start()

    def stop(self) -> Deferred[None]:
        """End all of it, in order."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._screen.dev("leaving: out of the registry first, then the app, then the sidecar")
        try:
            await self._root.daemon.apps.stopService()
            await deferLater(self._reactor, self._root.daemon.settings.drain_delay)
            await self._runner.stop()
        finally:
            await self._root.stopService()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._ending:
            self._runner.kill()
            os._exit(128 + number)
        self._end()

    def _end(self) -> None:
        if not self._ending:
            self._ending = True
            self._reactor.callFromThread(self._reactor.stop)


def run(settings: DevSettings, options: DevOptions) -> int:
    """:param settings: what of them the sidecar says is filled in. :param options: parsed.
    :returns: the exit code, when all of it has ended."""
    ensure()
    from twisted.internet import reactor as installed

    reactor: Any = installed  # a module to mypy
    root = tap.make(options, reactor)
    screen = Screen(sys.stdout, coloured(sys.stdout), options.settings.log.levels)
    globalLogBeginner.beginLoggingTo([screen], redirectStandardIO=False)
    root.privilegedStartService()
    root.startService()
    daemon = root.daemon
    served = ServedCalls(reactor, screen)
    calls = Tap(daemon.client, options.settings.client.selector, reactor.seconds, partial(wall, reactor))
    calls.listen(TapRequest(lambda service: True, bodies=False, rate=_MOST_CALLS), served.made)
    # The app and its `micro` commands find this sidecar; and what Python prints is seen at once.
    told = {"MICRO_PROXY_ADDRESS": daemon.listener.url, "PYTHONUNBUFFERED": "1"}
    if settings.port:
        told["PORT"] = str(settings.port)
    settings = evolve(settings, environ={**told, **os.environ})
    dev = Dev(reactor, root, Runner(reactor, settings, screen, AppRegistration(root, served)), screen)
    reactor.callWhenRunning(dev.start)
    reactor.addSystemEventTrigger("before", "shutdown", dev.stop)
    reactor.run()
    return 0
