"""A check that the app takes connections."""

from __future__ import annotations

from typing import Any

from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from sidecar.health.threshold import CheckResult


class TcpProbe:
    """Connects, and goes away again."""

    def __init__(self, reactor: Any, endpoint: IStreamClientEndpoint, shown: str, timeout: float) -> None:
        """:param shown: where it connects, for people. :param timeout: seconds."""
        self._reactor = reactor
        self._endpoint = endpoint
        self._shown = shown
        self._timeout = timeout

    def check(self) -> Deferred[CheckResult]:
        return Deferred.fromCoroutine(self._check())

    async def _check(self) -> CheckResult:
        connecting = self._endpoint.connect(Factory.forProtocol(Protocol))
        connecting.addTimeout(self._timeout, self._reactor)
        try:
            connected: Any = await connecting
        except (defer.TimeoutError, error.TimeoutError):
            return CheckResult(False, f"{self._shown} takes no connection within {self._timeout:g} s")
        except defer.CancelledError:
            raise
        except Exception as problem:
            # A connection fails in more ways than can be listed; each of them means that there was none.
            return CheckResult(False, f"{self._shown} takes no connection: {problem or type(problem).__name__}")
        connected.transport.abortConnection()
        return CheckResult(True, f"{self._shown} takes connections")
