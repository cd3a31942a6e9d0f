"""Makes the checks of an app from its settings: the only place that knows that there is more than one kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from attrs import field, frozen

from sidecar.daemon.cmdline.settings import CheckSettings
from sidecar.errors import ConfigError
from sidecar.health.checks import Checks, IProbe
from sidecar.health.checkset import CheckSet, Found, ICheckLoop, NamedCheck
from sidecar.health.counts import CheckCounts
from sidecar.health.heartbeat import Heartbeats
from sidecar.health.threshold import CheckResult, Threshold
from sidecar.interfaces import ITransport
from sidecar.model import Node
from sidecar.net.errors import InvalidSetting

#: What a check is taken for before it has found anything.
_INITIAL: dict[str, bool | None] = {"": None, "pass": True, "warn": True, "fail": False}


@frozen
class CheckMaker:
    """Makes checks. :ivar grpc: calls servers that speak gRPC. :ivar traced: gives a probe whose checks are recorded,
    given the name of the check and its probe. :ivar counts: told of what each check finds."""

    reactor: Any
    grpc: ITransport
    traced: Callable[[str, IProbe], IProbe] = lambda name, probe: probe
    counts: CheckCounts = field(factory=CheckCounts)

    def loop(
        self,
        app: str,
        settings: tuple[CheckSettings, ...],
        heartbeats: dict[str, Heartbeats],
        states: dict[CheckSettings, NamedCheck],
        before: Mapping[CheckSettings, NamedCheck],
        found: Found,
    ) -> ICheckLoop:
        """What runs the checks of one app, not started.

        :param app: its name.
        :param heartbeats: those that wait for the app are put there, by the name of the check.
        :param states: what they find is put there. :param before: what the same checks found before.
        :param found: told what they come to.
        :raises ConfigError: a file that one of them needs is no good.
        """
        checks = CheckSet(self.reactor, found)
        for each in settings:
            threshold = Threshold(each.rise, each.fall, _INITIAL[each.initial])
            initial = CheckResult(True, "warning at the start", warning=True) if each.initial == "warn" else None
            check = NamedCheck(each.name, threshold, each.critical_after, initial)
            if each in before:
                was = before[each]
                check.threshold, check.found, check.since = was.threshold, was.found, was.since
            states[each] = check
            checks.add(check, partial(self._one, app, each, heartbeats))
        return checks

    def only(self, app: str, settings: CheckSettings, found: Found) -> ICheckLoop:
        """The check of an app that has one, told as it is found: the registrar counts its passes and failures.

        :raises ConfigError: a file that it needs is no good."""
        counted = self.counts.counting(app, settings.name, found)
        return Checks(self.reactor, self._probe(settings), settings.interval, counted)

    def _one(self, app: str, settings: CheckSettings, heartbeats: dict[str, Heartbeats], found: Found) -> ICheckLoop:
        found = self.counts.counting(app, settings.name, found)
        if settings.kind == "ttl":
            waiting = heartbeats[settings.name] = Heartbeats(self.reactor, settings.ttl, found)
            return waiting
        return Checks(self.reactor, self._probe(settings), settings.interval, found)

    def _probe(self, settings: CheckSettings) -> IProbe:
        make: dict[Literal["http", "tcp", "ttl", "grpc", "script", "systemd"], Callable[[CheckSettings], IProbe]]
        make = {
            "http": self._http,
            "tcp": self._tcp,
            "grpc": self._grpc,
            "script": self._script,
            "systemd": self._systemd,
        }
        probe = make[settings.kind](settings)
        return self.traced(settings.name, probe)

    def _http(self, settings: CheckSettings) -> IProbe:
        # Imported here: the HTTP client for cold paths costs a tenth of a second at start.
        from sidecar.health.probe import Expected, Probe
        from sidecar.net.client.fetcher import Fetcher
        from sidecar.net.client.tls import TrustOptions

        try:
            fetcher = Fetcher(self.reactor, settings.timeout, tls=TrustOptions(settings.ca_file))
        except InvalidSetting as error:
            flag = "--healthcheck_ca_file" if settings.name == "healthcheck_url" else f"check {settings.name}: ca_file"
            raise ConfigError(f"{flag}={settings.ca_file}: {error}") from error
        expected = Expected(settings.status, settings.body, settings.header)
        return Probe(fetcher, settings.target, settings.timeout, expected)

    def _tcp(self, settings: CheckSettings) -> IProbe:
        from sidecar.health.tcpprobe import TcpProbe
        from sidecar.net.client.endpoints import endpoint

        host, port = _split(settings.target)
        return TcpProbe(self.reactor, endpoint(self.reactor, host, port), settings.target, settings.timeout)

    def _grpc(self, settings: CheckSettings) -> IProbe:
        from sidecar.health.grpcprobe import GrpcProbe
        from sidecar.rpc.dialects.bynode import DeferredTransport

        where, _, service = settings.target.partition("/")
        host, port = _split(where)
        ask = DeferredTransport(self.grpc, self.reactor).send
        return GrpcProbe(ask, Node(settings.name, host, port), service, settings.timeout)

    def _script(self, settings: CheckSettings) -> IProbe:
        from sidecar.health.programprobe import ProgramProbe, judge_script

        return ProgramProbe(self.reactor, settings.command, settings.timeout, judge_script)

    def _systemd(self, settings: CheckSettings) -> IProbe:
        from sidecar.health.programprobe import ProgramProbe, judge_unit

        command = ("systemctl", "is-active", "--", settings.target)
        return ProgramProbe(self.reactor, command, settings.timeout, judge_unit(settings.target))


def _split(hostport: str) -> tuple[str, int]:
    host, _, port = hostport.rpartition(":")
    return host.strip("[]"), int(port)
