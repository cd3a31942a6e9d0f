"""TLS in front of a server. Whoever speaks HTTP in the clear there is told so, and not just cut off."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory

#: How TLS begins: a record of the handshake (RFC 8446, 5.1).
_HANDSHAKE: Final = 0x16


class _TlsConnection(BufferingTLSTransport):
    """One connection."""

    factory: TlsPortFactory
    _begun = False

    def dataReceived(self, bytes: bytes) -> None:
        if self._begun:
            super().dataReceived(bytes)
            return
        self._begun = True
        if bytes[0] == _HANDSHAKE or not bytes[:1].isupper():
            super().dataReceived(bytes)
        else:
            # A method's first letter.
            transport: Any = self.transport
            transport.write(self.factory.told)
            transport.loseConnection()


class TlsPortFactory(TLSMemoryBIOFactory):
    """Puts TLS under what ``factory`` makes."""

    protocol = _TlsConnection

    def __init__(
        self, certificates: IOpenSSLServerConnectionCreator, factory: IProtocolFactory, told: bytes, clock: Any
    ) -> None:
        """:param told: the whole answer to a request in the clear."""
        super().__init__(certificates, False, factory, clock)
        self.told = told
