"""Which nodes are spoken to through TLS, and whose certificate each of them has to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen
from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory

from sidecar.model import Node

if TYPE_CHECKING:
    from sidecar.net.client.credentials import ClientCredentials

Mode = Literal["auto", "require", "off"]


@frozen
class NodeTlsSettings:
    """How nodes of services are called by TLS.

    :ivar mode: ``auto`` for those whose metadata says so, ``require`` for all, ``off`` for none.
    :ivar ca_file: authorities to trust, PEM; "" for the system's.
    :ivar cert_file: the certificate that we show, PEM, with its chain; "" for none. :ivar key_file: its key.
    """

    mode: Mode = "auto"
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class NodeTls:
    """Judges nodes by their metadata, and connects to those that want TLS.

    A node wants it whose metadata has ``secure=true`` (as go-micro's HTTP broker says it) or ``tls=true``. Its
    certificate has to be for the name in its metadata ``tls_name``, or for its host.
    """

    def __init__(self, mode: Mode = "auto", credentials: ClientCredentials | None = None) -> None:
        """:param mode: ``auto`` judges nodes, ``require`` has all of them speak TLS, ``off`` none.
        :param credentials: whom we trust and what we show; None for the system's authorities and nothing."""
        self.use(mode, credentials)

    def use(self, mode: Mode, credentials: ClientCredentials | None) -> None:
        """From now on, for connections that begin."""
        self._always = mode == "require"
        self._never = mode == "off"
        self._credentials = credentials

    def name(self, node: Node) -> str | None:
        """:returns: whose certificate ``node`` has to show; None where it is spoken to without TLS."""
        metadata = node.metadata
        if not self._always:
            if ("secure" not in metadata and "tls" not in metadata) or self._never:
                return None
            if all(metadata.get(key, "").lower() != "true" for key in ("secure", "tls")):
                return None
        return metadata.get("tls_name") or node.address

    def connect(
        self,
        dial: Callable[..., IConnector],
        reactor: Any,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float,
        name: str | None,
        protocol: bytes = b"http/1.1",
    ) -> IConnector:
        """:param dial: connects without TLS. :param name: as :meth:`name` gave it.
        :param timeout: seconds, the handshake included. :param protocol: what is spoken, by its name in ALPN."""
        if name is None:
            return dial(reactor, host, port, factory, timeout)
        # Imported here: OpenSSL costs a tenth of a second at start that nobody without TLS should pay.
        from sidecar.net.client.credentials import ClientCredentials
        from sidecar.net.client.tlsconnector import TlsConnector

        if self._credentials is None:
            self._credentials = ClientCredentials()
        connector = TlsConnector(dial, reactor, host, port, factory, timeout, name, self._credentials, protocol)
        connector.connect()
        return connector


#: Speaks TLS to nobody: to apps on this machine.
WITHOUT_TLS = NodeTls("off")
