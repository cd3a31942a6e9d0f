"""Where RabbitMQ servers are and how we show who we are: checked before we connect.

:source: RabbitMQ's URI specification, https://www.rabbitmq.com/docs/uri-spec
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from attrs import field, frozen
from twisted.web.client import URI

from sidecar.net.client.endpoints import ClientEndpoints
from sidecar.net.client.tls import TrustOptions, TrustPolicy
from sidecar.net.enginesettings import EngineOptions, no_address, read_url
from sidecar.net.errors import InvalidSetting

DEFAULT_PORT = 5672
TLS_PORT = 5671
#: What RabbitMQ lets in from loopback.
GUEST = "guest"


@frozen
class AmqpAddress:
    """One server.

    :ivar host: a name or an IP literal without brackets. :ivar vhost: RabbitMQ's name for a space of its own.
    :ivar username: as which to come, "" where the address does not say.
    """

    host: str
    port: int = DEFAULT_PORT
    tls: bool = False
    vhost: str = "/"
    username: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, tls: bool = False) -> AmqpAddress:
    """Read ``host``, ``host:port`` or an ``amqp://`` or ``amqps://`` URL.

    :param tls: whether TLS is asked for in any case.
    :raises InvalidSetting: it is none of these.
    """
    url = read_url("RabbitMQ", text, ("amqp", "amqps"), DEFAULT_PORT)
    if "/" in url.path[1:] or not url.host.isascii():
        raise no_address("RabbitMQ", text, DEFAULT_PORT)
    secure = tls or url.scheme == "amqps"
    port = url.port or (TLS_PORT if secure else DEFAULT_PORT)
    return AmqpAddress(url.host, port, secure, unquote(url.path[1:]) or "/", url.username, url.password)


@frozen
class AmqpAccess:
    """The servers in the order to try, and our credentials for those whose address holds none.

    :ivar username: "" for RabbitMQ's ``guest``.
    """

    addresses: tuple[AmqpAddress, ...]
    _endpoints: Any = field(repr=False)
    username: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def from_options(cls, options: EngineOptions) -> AmqpAccess:
        """:raises InvalidSetting: an address or a certificate cannot be used, or a credential is of no use here."""
        if options.token or options.credentials_file:
            raise InvalidSetting("RabbitMQ takes a user name and a password, no token and no credentials file")
        addresses = tuple(parse_address(text, options.tls) for text in options.addresses)
        policy = TrustPolicy(TrustOptions(options.ca_file, options.cert_file, options.key_file))
        return cls(
            addresses or (AmqpAddress("127.0.0.1", TLS_PORT if options.tls else DEFAULT_PORT, options.tls),),
            ClientEndpoints(options.reactor, policy),
            options.username,
            options.password,
        )

    def credentials(self, address: AmqpAddress) -> tuple[str, str]:
        """User name and password for ``address``."""
        if address.username:
            return address.username, address.password
        return (self.username, self.password) if self.username else (GUEST, GUEST)

    def endpoint(self, address: AmqpAddress) -> Any:
        """What connects to ``address``, over TLS that is verified where it is asked for."""
        scheme = "https" if address.tls else "http"
        return self._endpoints.endpointForURI(URI.fromBytes(f"{scheme}://{address}/".encode("ascii")))
