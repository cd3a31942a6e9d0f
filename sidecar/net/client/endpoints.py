"""Client connections for HTTP agents that wait for nothing: not to fill a packet, nor for a goodbye."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet import defer, interfaces
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import NoProtocol
from twisted.internet.protocol import ClientFactory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from sidecar.net.client import connector
from sidecar.net.client.addressrules import AddressRules
from sidecar.net.client.quickack import acknowledge
from sidecar.net.client.tls import TrustPolicy
from sidecar.net.errors import RequestFailed

#: Seconds that a closing connection may wait for the other side's goodbye (TLS wants one) before it is aborted.
_GOODBYE = 1.0
#: Seconds to look up and connect in at most; whoever asks has a deadline of his own, which is shorter.
_PATIENCE = 30.0


@implementer(IAgentEndpointFactory)
@define
class ClientEndpoints:
    """Where a URL leads."""

    _reactor: Any
    _policy: TrustPolicy
    _rules: AddressRules | None = None

    def endpointForURI(self, uri: URI) -> _Endpoint:
        if not 0 < uri.port < 65536:
            raise RequestFailed(f"there is no port {uri.port}; ports go from 1 to 65535")
        host = uri.host.decode("ascii")
        bare = host[1:-1] if host.startswith("[") else host
        where: Any = endpoint(self._reactor, bare, uri.port, self._rules)
        if uri.scheme == b"https":
            where = wrapClientTLS(self._policy.creatorForNetloc(bare.encode("ascii"), uri.port), where)
        elif uri.scheme != b"http":
            raise RequestFailed(f"cannot speak {uri.scheme.decode('ascii', 'replace')!r}; give an http or https URL")
        return _Endpoint(self._reactor, where)


def endpoint(reactor: Any, host: str, port: int, rules: AddressRules | None = None) -> interfaces.IStreamClientEndpoint:
    """Where to connect to.

    :param host: a name, or an address without brackets. :param rules: judge it; None where the operator named it.
    """
    return _HostEndpoint(reactor, host, port, rules)


@implementer(interfaces.IStreamClientEndpoint)
@define
class _HostEndpoint:
    """A host and a port, over :func:`sidecar.net.client.connector.connect`."""

    _reactor: Any
    _host: str
    _port: int
    _rules: AddressRules | None

    def connect(self, protocolFactory: interfaces.IProtocolFactory) -> defer.Deferred[interfaces.IProtocol]:
        connecting = _Connecting(protocolFactory)
        connecting.connector = connector.connect(
            self._reactor, self._host, self._port, connecting, _PATIENCE, self._rules
        )
        return connecting.done


class _Connecting(ClientFactory):
    """One connection of an endpoint. :ivar done: fires with the protocol once it is connected."""

    noisy = False
    connector: interfaces.IConnector | None = None

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self.done: defer.Deferred[Any] = defer.Deferred(self._cancelled)

    def buildProtocol(self, addr: interfaces.IAddress | None) -> Any:
        protocol = self._factory.buildProtocol(addr)
        if protocol is None:
            self._fail(NoProtocol())
            return None
        make = protocol.makeConnection

        def makeConnection(transport: Any) -> None:
            make(transport)
            if not self.done.called:
                self.done.callback(protocol)

        protocol.makeConnection = makeConnection
        return protocol

    def clientConnectionFailed(self, connector: interfaces.IConnector, reason: Failure) -> None:
        self._fail(reason)

    def _fail(self, reason: Any) -> None:
        if not self.done.called:
            self.done.errback(reason)

    def _cancelled(self, done: defer.Deferred[Any]) -> None:
        done.errback(defer.CancelledError())
        if self.connector is not None:
            self.connector.disconnect()


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

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        acknowledge(self.transport)  # the rest may be due; who asks here is in no hurry that this could slow

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
