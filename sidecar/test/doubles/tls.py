"""Both ends of TLS for a test that has no files of its own."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, cast

from attrs import frozen
from OpenSSL import SSL
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.net.client.credentials import ClientCredentials
from sidecar.test.doubles.certificates import Authority, authority


def tls_ends() -> tuple[Any, Any]:
    """:returns: what a server of ``localhost`` needs, and what a client needs that trusts it."""
    with tempfile.TemporaryDirectory() as home:
        signer = authority(Path(home))
        chain, key = signer.issue("server")
        server = ssl.PrivateCertificate.loadPEM(Path(key).read_bytes() + Path(chain).read_bytes())
        trusted = ssl.Certificate.loadPEM(Path(signer.ca_file).read_bytes())
    return server.options(), ssl.optionsForClientTLS("localhost", trusted)


def trusting(signer: Authority, cert_file: str = "", key_file: str = "") -> ClientCredentials:
    """A client that trusts ``signer``, and shows the certificate of ``cert_file`` where there is one."""
    root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(Path(signer.ca_file).read_bytes())])
    if not cert_file:
        return ClientCredentials(root)
    own = ssl.PrivateCertificate.loadPEM(Path(key_file).read_bytes() + Path(cert_file).read_bytes())
    return ClientCredentials(root, own.privateKey.original, (own.original,))


class TlsFront:
    """Speaks TLS in front of a server of this machine that does not.

    :ivar port: where it listens. :ivar agreed: what each handshake agreed to by ALPN. :ivar asked: the name that each
    client asked for, None for none.
    """

    def __init__(
        self,
        reactor: Any,
        behind: int,
        chain: str,
        key: str,
        client_ca: str = "",
        protocols: tuple[bytes, ...] = (b"h2", b"http/1.1"),
    ) -> None:
        """:param behind: the server's port. :param client_ca: clients have to show a certificate signed by it, PEM."""
        own = ssl.PrivateCertificate.loadPEM(Path(key).read_bytes() + Path(chain).read_bytes())
        trust = None
        if client_ca:
            trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(Path(client_ca).read_bytes())])
        options = ssl.CertificateOptions(own.privateKey.original, own.original, trustRoot=trust)
        self.agreed: list[bytes | None] = []
        self.asked: list[str | None] = []
        context = options.getContext()
        context.set_tlsext_servername_callback(self._named)
        none: Any = SSL.NO_OVERLAPPING_PROTOCOLS
        context.set_alpn_select_callback(lambda _, offered: next((each for each in protocols if each in offered), none))
        forward = ProxyFactory("127.0.0.1", behind)
        forward.noisy = False
        forward.protocol = cast(Any, partial(_Noting, self))
        self._port = reactor.listenTCP(0, TLSMemoryBIOFactory(_Server(context), False, forward), interface="127.0.0.1")
        self.port: int = self._port.getHost().port

    def stop(self) -> Any:
        return self._port.stopListening()

    def _named(self, connection: SSL.Connection) -> None:
        name = connection.get_servername()
        self.asked.append(None if name is None else name.decode())


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _Server:
    context: SSL.Context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self.context, None)


class _Behind(ProxyClient):
    """The connection to the server: when that ends, TLS says goodbye."""

    peer: Any

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.peer is not None:
            self.peer.transport.unregisterProducer()
        super().connectionLost(reason)


class _BehindFactory(ProxyClientFactory):
    protocol = _Behind


class _Noting(ProxyServer):
    """Forwards what comes, and notes what was agreed to."""

    clientProtocolFactory = _BehindFactory

    transport: Any

    def __init__(self, front: TlsFront) -> None:
        self._front = front
        self._noted = False

    def dataReceived(self, data: bytes) -> None:
        if not self._noted:
            self._noted = True
            self._front.agreed.append(self.transport.negotiatedProtocol)
        super().dataReceived(data)


class Mute(Protocol):
    """Takes connections and never says a word."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nobody is told."""


def mute() -> Factory[Mute]:
    """A server of them."""
    made: Factory[Mute] = Factory.forProtocol(Mute)
    made.noisy = False
    return made
