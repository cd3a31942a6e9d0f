"""Connects through TLS: whoever connects hears of a connection once the peer has shown a certificate for its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost, TimeoutError, UserError
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
)
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.net.client import peercertificate
from sidecar.net.client.connector import is_address
from sidecar.net.client.credentials import ClientCredentials
from sidecar.net.errors import TlsRefused

#: Seconds that a closing connection may wait for the other side's goodbye before it is aborted.
_GOODBYE: Final = 1.0


@implementer(IConnector)
class TlsConnector:
    """Connects, and shakes hands. The factory makes its protocol only after that, and is told of any failure before."""

    def __init__(
        self,
        dial: Callable[..., IConnector],
        reactor: Any,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float,
        name: str,
        credentials: ClientCredentials,
        protocol: bytes,
    ) -> None:
        """:param dial: connects without TLS: called with reactor, host, port, factory and seconds.
        :param timeout: seconds for connecting and the handshake together.
        :param name: whose certificate the peer has to show. :param protocol: what is spoken then, as ALPN names it."""
        self._dial = dial
        self._reactor = reactor
        self._where = host, port
        self._factory = factory
        self._timeout = timeout
        self._name = name
        self._credentials = credentials
        self._protocol = protocol
        self._connector: IConnector | None = None
        self._transport: _TlsTransport | None = None
        self._late: IDelayedCall | None = None
        self._over = False

    # --- IConnector -------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        self._factory.doStart()
        self._factory.startedConnecting(self)
        self._late = self._reactor.callLater(self._timeout, self._expired)
        checked = _Checked(self._name, self._protocol, self._credentials.context)
        through = _TlsFactory(checked, _Handshakes(self, checked), self._reactor)
        connector = self._dial(self._reactor, *self._where, through, self._timeout)
        self._connector = connector

    def disconnect(self) -> None:
        if self._over and self._connector is not None:
            self._connector.disconnect()
        else:
            self.stopConnecting()

    def stopConnecting(self) -> None:
        self._fail(UserError())

    def getDestination(self) -> IAddress:
        assert self._connector is not None
        return self._connector.getDestination()

    # --- From the handshake -----------------------------------------------------------------------------------------

    def began(self, transport: _TlsTransport) -> None:
        """There is a connection; the handshake is under way on it."""
        self._transport = transport
        if self._over:
            transport.abortConnection()

    def secured(self, transport: _TlsTransport, addr: IAddress | None) -> None:
        """The handshake is done, and the peer's chain is good."""
        if self._over:
            transport.abortConnection()
            return
        certificate = transport.getPeerCertificate().to_cryptography()
        if not peercertificate.covers(certificate, self._name):
            self._fail(TlsRefused(peercertificate.wrong_name(certificate, self._name)))
            return
        agreed = transport.negotiatedProtocol
        if agreed not in (None, self._protocol):
            self._fail(TlsRefused(f"it agreed to {agreed!r} over TLS, where we speak {self._protocol.decode()}"))
            return
        self._end()
        protocol = self._factory.buildProtocol(addr)
        if protocol is None:
            transport.abortConnection()
            return
        transport.wrappedProtocol = protocol
        protocol.makeConnection(transport)

    def failed(self, error: Exception) -> None:
        """There is no connection."""
        self._fail(error)

    def lost(self, reason: Failure) -> None:
        """The connection that was made is gone."""
        self._factory.clientConnectionLost(self, reason)
        self._factory.doStop()

    # --- Within -----------------------------------------------------------------------------------------------------

    def _expired(self) -> None:
        self._late = None
        if self._transport is None:
            self._fail(TimeoutError())
        else:
            self._fail(TlsRefused(f"it did not shake hands for TLS in {self._timeout:.3g} s"))

    def _fail(self, error: Exception) -> None:
        if self._over:
            return
        self._end()
        if self._connector is None:
            # Whoever connects has not got the connector yet that this is about.
            self._reactor.callLater(0, self._tell, error)
        else:
            if self._transport is not None:
                self._transport.abortConnection()
            else:
                self._connector.disconnect()
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        self._factory.clientConnectionFailed(self, Failure(error))
        self._factory.doStop()

    def _end(self) -> None:
        self._over = True
        if self._late is not None:
            self._late.cancel()
            self._late = None


@implementer(IOpenSSLClientConnectionCreator)
class _Checked:
    """Makes our side of one TLS connection, and notes what is wrong with the certificates that the peer shows.

    :ivar fault: that, in words; "" while nothing is.
    """

    def __init__(self, name: str, protocol: bytes, context: SSL.Context) -> None:
        self._name = name
        self._protocol = protocol
        self._context = context
        self.fault = ""

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_alpn_protos([self._protocol])
        if not is_address(self._name):
            connection.set_tlsext_host_name(self._name.encode("ascii", "replace"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return connection

    def _verify(self, connection: SSL.Connection, certificate: Any, code: int, depth: int, well: int) -> bool:
        if not well and not self.fault:
            self.fault = peercertificate.untrusted(code, certificate.to_cryptography(), depth)
        return bool(well)


class _Handshakes(ClientFactory):
    """Makes the protocol that waits for the end of the handshake."""

    noisy = False

    def __init__(self, owner: TlsConnector, checked: _Checked) -> None:
        self._owner = owner
        self._checked = checked

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Handshake(self._owner, self._checked, addr)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        error = reason.value
        self._owner.failed(error if isinstance(error, Exception) else RuntimeError(str(error)))

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        self._owner.lost(reason)


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Stands in for the real protocol until the handshake is done."""

    transport: Any

    def __init__(self, owner: TlsConnector, checked: _Checked, addr: IAddress | None) -> None:
        self._owner = owner
        self._checked = checked
        self._addr = addr

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._owner.began(self.transport)

    def handshakeCompleted(self) -> None:
        self._owner.secured(self.transport, self._addr)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        error = reason.value
        if self._checked.fault:
            self._owner.failed(TlsRefused(self._checked.fault))
        elif isinstance(error, TlsRefused):
            self._owner.failed(error)
        elif isinstance(error, SSL.Error):
            self._owner.failed(TlsRefused(peercertificate.said(error)))
        elif isinstance(error, ConnectionDone | ConnectionLost):
            self._owner.failed(TlsRefused("it closed the connection while TLS was being agreed: it may not speak TLS"))
        else:
            self._owner.failed(error if isinstance(error, Exception) else RuntimeError(str(error)))


class _TlsTransport(TLSMemoryBIOProtocol):
    """The TLS of one connection: writes at once, and does not wait for ever for a goodbye."""

    factory: _TlsFactory
    _abort: IDelayedCall | None = None

    def loseConnection(self) -> None:
        super().loseConnection()
        if self._abort is None and self.connected:
            self._abort = self.factory.reactor.callLater(_GOODBYE, self.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._abort is not None and self._abort.active():
            self._abort.cancel()
        handle = self.getHandle()
        if handle is not None and handle.get_shutdown() & SSL.RECEIVED_SHUTDOWN:
            # The peer said goodbye, so nothing is missing, though it may not have waited for ours.
            reason = Failure(ConnectionDone())
        self.wrappedProtocol = _Ending(self.wrappedProtocol)
        super().connectionLost(reason)


class _Ending(Protocol):
    """Hands on the last that a connection has to say, and why it ends, in words that tell of TLS.

    With TLS 1.3 a server looks at our certificate after we take the handshake for done, and a request may be on its way
    by then: it was not taken.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def dataReceived(self, data: bytes) -> None:
        self._protocol.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        error = reason.value
        if isinstance(error, SSL.Error) and peercertificate.is_alert_of_certificate(error):
            reason = Failure(TlsRefused(peercertificate.said(error)))
        self._protocol.connectionLost(reason)


class _TlsFactory(TLSMemoryBIOFactory):
    protocol = _TlsTransport

    def __init__(self, checked: _Checked, handshakes: _Handshakes, reactor: Any) -> None:
        super().__init__(checked, True, handshakes, clock=reactor)
        self.reactor = reactor
