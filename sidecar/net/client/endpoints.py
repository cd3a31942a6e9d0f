"""Client connections for HTTP agents that wait for nothing: not to fill a packet, nor for a goodbye."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet import defer, interfaces
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from sidecar.net.client.tls import TrustPolicy
from sidecar.net.errors import RequestFailed

#: Seconds that a closing connection may wait for the other side's goodbye (TLS wants one) before it is aborted.
_GOODBYE = 1.0


@implementer(IAgentEndpointFactory)
@define
class ClientEndpoints:
    """Where a URL leads."""

    _reactor: Any
    _policy: TrustPolicy

    def endpointForURI(self, uri: URI) -> _Endpoint:
        if not 0 < uri.port < 65536:
            raise RequestFailed(f"there is no port {uri.port}; ports go from 1 to 65535")
        host = uri.host.decode("ascii")
        bare = host[1:-1] if host.startswith("[") else host
        where: Any = endpoint(self._reactor, bare, uri.port)
        if uri.scheme == b"https":
            where = wrapClientTLS(self._policy.creatorForNetloc(bare.encode("ascii"), uri.port), where)
        elif uri.scheme != b"http":
            raise RequestFailed(f"cannot speak {uri.scheme.decode('ascii', 'replace')!r}; give an http or https URL")
        return _Endpoint(self._reactor, where)


def endpoint(reactor: Any, host: str, port: int) -> interfaces.IStreamClientEndpoint:
    """Where to connect to. A literal address is connected to at once; looking it up as a name costs a third of a second
    when refused.

    :param host: a name or an IP literal without brackets.
    """
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, port)
    return HostnameEndpoint(reactor, host, port)


@implementer(interfaces.IStreamClientEndpoint)
@define
class _Endpoint:
    """Makes connections that send at once and close within a second."""

    _reactor: Any
    _endpoint: interfaces.IStreamClientEndpoint

    def connect(self, protocolFactory: interfaces.IProtocolFactory) -> defer.Deferred[interfaces.IProtocol]:
        connecting: defer.Deferred[Any] = self._endpoint.connect(_NoDelayFactory(self._reactor, protocolFactory))
        return connecting.addCallback(lambda wrapper: wrapper.wrappedProtocol)


class _NoDelay(ProtocolWrapper):
    """A connection that does not wait: neither to fill a packet nor for a goodbye that may never come."""

    factory: _NoDelayFactory
    _abort: interfaces.IDelayedCall | None = None

    def connectionMade(self) -> None:
        tcp: Any = self.transport  # through TLS too, which hands on what it does not know
        tcp.setTcpNoDelay(True)
        super().connectionMade()

    def loseConnection(self) -> None:
        super().loseConnection()
        if self._abort is None:
            self._abort = self.factory.reactor.callLater(_GOODBYE, self.abortConnection)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # as ProtocolWrapper has it
        if self._abort is not None and self._abort.active():
            self._abort.cancel()
        super().connectionLost(reason)


class _NoDelayFactory(WrappingFactory):
    noisy = False
    protocol = _NoDelay

    def __init__(self, reactor: Any, factory: Any) -> None:
        super().__init__(factory)
        self.reactor = reactor
        factory.noisy = False  # else each connection is told in the log
