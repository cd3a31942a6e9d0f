"""Every setting of the daemon, typed, defaulted and frozen. ``options`` fills it, ``assembly`` reads it, nobody else.

Durations are float seconds, sizes are int bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import frozen

from sidecar.daemon.logs.levels import Levels
from sidecar.model import EMPTY, BackendOptions, Endpoint
from sidecar.net.client.addressrules import NONE_ALLOWED, AddressRules
from sidecar.net.peers import Shares
from sidecar.rpc.dialects.nodetls import NodeTlsSettings
from sidecar.rpc.ejection import USUAL, EjectionLimits
from sidecar.wire.gateway import mapping

#: The port of the original, on loopback: nobody is served whom the operator did not invite.
DEFAULT_PORT = 8081
DEFAULT_HOST = "127.0.0.1"
#: The embedded registry, and the embedded broker.
MEMORY = BackendOptions()


@frozen
class TcpPort:
    """A TCP port to listen on. :ivar host: an IP literal, "" for all interfaces. :ivar port: 0 for any free one."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT


@frozen
class EndpointPort:
    """A port that a Twisted server endpoint string describes, such as ``unix:/run/micro.sock``."""

    description: str


@frozen
class ListenSettings:
    """Where the HTTP API is served. :ivar backlog: connections that may wait to be accepted."""

    where: TcpPort | EndpointPort = TcpPort()
    backlog: int = 1024


@frozen
class TlsSettings:
    """How a port of ours speaks TLS.

    :ivar cert_file: the chain in PEM, the server's own certificate first.
    :ivar client_ca_file: when given, callers must show a certificate that one of these authorities signed.
    """

    enabled: bool = False
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""


@frozen
class AccessSettings:
    """Who may do what.

    :ivar tokens: path of the file of tokens, "" for none. :ivar roles: path of the file of roles, "" for none.
    :ivar insecure_listen: the API's port may be public without either.
    :ivar socket_mode: of a Unix socket, None for the endpoint's own. :ivar socket_group: name or number, "" for ours.
    """

    tokens: str = ""
    roles: str = ""
    insecure_listen: bool = False
    socket_mode: int | None = None
    socket_group: str = ""


@frozen
class HttpSettings:
    """The limits of the HTTP server.

    :ivar channel: ``fast`` is ours over httptools, ``stock`` twisted.web's own.
    :ivar max_memory: bytes kept for all peers together, 0 for a share of what there is. :ivar shares: of one peer.
    :ivar max_nodes: of one registration. :ivar max_endpoints: the same. :ivar max_values: JSON values in it, in all.
    """

    channel: Literal["fast", "stock"] = "fast"
    max_header: int = 16 * 1024
    max_body: int = 4 * 1024 * 1024
    max_connections: int = 10_000
    max_memory: int = 0
    max_nodes: int = 1000
    max_endpoints: int = 1000
    max_values: int = 30_000
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    queue_timeout: float = 0.75
    shares: Shares = Shares()  # noqa: RUF009  # frozen


@frozen
class GatewaySettings:
    """What is on the paths of services.

    :ivar mode: ``rpc``: calls; the others: requests go on to nodes as they are.
    :ivar namespace: what the names of these services begin with, "" for nothing.
    """

    mode: Literal["rpc", "proxy", "web", "http"] = "rpc"
    namespace: str = mapping.SERVICES


@frozen
class ClientSettings:
    """How services are called.

    :ivar pool_size: connections to one node at most, busy or idle. :ivar pool_ttl: seconds that one may idle.
    :ivar max_waiting: calls that may wait for a connection to one node; the next one is refused.
    :ivar any_address: whether ``address`` of a call may be one that no registered node has.
    :ivar rules: which addresses of nodes may be connected to. :ivar tls: how nodes are called by TLS.
    """

    request_timeout: float = 5.0
    retries: int = 1
    retry: Literal["safe", "error", "never"] = "safe"
    pool_size: int = 512
    pool_ttl: float = 60.0
    max_waiting: int = 1024
    selector: str = "random"
    any_address: bool = False
    rules: AddressRules = NONE_ALLOWED
    retry_share: float = 0.2
    ejection: EjectionLimits = USUAL
    tls: NodeTlsSettings = NodeTlsSettings()  # noqa: RUF009  # frozen


@frozen
class RegistrySettings:
    """The registries in use, in the order given. Writes go to all of them."""

    engines: tuple[BackendOptions, ...] = (MEMORY,)


@frozen
class BrokerSettings:
    """The broker in use, and what its WebSocket subscribers may cost.

    :ivar slow: what happens to a subscriber whose outbox is full: ``drop`` its oldest messages, or ``close`` it (1008).
    :ivar outbox: bytes that may wait for one subscriber. :ivar outbox_messages: messages likewise.
    :ivar max_message: bytes of the largest message that a subscriber may send.
    :ivar max_connections: WebSockets, watches and requests that wait for a change, open at once.
    :ivar max_incomplete: bytes of messages that have not come whole, of all WebSockets together.
    :ivar ping_interval: seconds between pings. :ivar ping_timeout: seconds to wait for the pong.
    """

    engine: BackendOptions = MEMORY
    slow: Literal["drop", "close"] = "drop"
    outbox: int = 8 * 1024 * 1024
    outbox_messages: int = 65_536
    max_message: int = 4 * 1024 * 1024
    max_connections: int = 16_384
    max_incomplete: int = 64 * 1024 * 1024
    ping_interval: float = 25.0
    ping_timeout: float = 25.0


@frozen
class CheckSettings:
    """One check of an app.

    :ivar name: unique among all checks. :ivar kind: how it is checked.
    :ivar target: an http or https URL; ``host:port`` for ``tcp`` and, with ``/service`` where one is meant, for
        ``grpc``; a systemd unit; "" for the others.
    :ivar command: the program of a script and its arguments.
    :ivar ttl: seconds from one heartbeat to the next, for ``ttl``.
    :ivar status: what an HTTP answer may have; empty for any 2xx.
    :ivar body: a text that has to be in its body. :ivar header: headers that it has to have, names and values.
    :ivar ca_file: whom to trust on https, PEM; "" for the system's authorities.
    :ivar interval: seconds between checks of an app that is well. :ivar timeout: seconds that one may take.
    :ivar rise: passes in a row that make it healthy. :ivar fall: failures in a row that make it unhealthy.
    :ivar initial: what it is taken for before it has found anything.
    :ivar critical_after: seconds that it has to fail for before the app leaves, 0 for at once.
    """

    name: str = ""
    kind: Literal["http", "tcp", "ttl", "grpc", "script", "systemd"] = "http"
    target: str = ""
    command: tuple[str, ...] = ()
    ttl: float = 0.0
    status: tuple[int, ...] = ()
    body: str = ""
    header: tuple[tuple[str, str], ...] = ()
    ca_file: str = ""
    interval: float = 30.0
    timeout: float = 5.0
    rise: int = 1
    fall: int = 1
    initial: Literal["", "pass", "warn", "fail"] = ""
    critical_after: float = 0.0


@frozen
class AppSettings:
    """An app beside us, to be registered.

    :ivar name: the service that it is a node of.
    :ivar id: the node id, made already: ``<name>-<uuid>`` unless a flag gave it.
    :ivar made_id: whether nobody gave it.
    :ivar host: where the app listens: a name or an IP literal without brackets.
    :ivar advertise: ``(host, port)`` to put into the registry instead, or None.
    :ivar protocol: ``jsonrpc``: the app speaks the envelope itself; ``http``: we translate on a port of our own.
    :ivar inbound: the port that is opened for ``http``. :ivar tls: what it speaks there.
    :ivar ttl: seconds until the engine drops the app unless renewed; None for ever.
    :ivar interval: seconds between renewals; None for none (there is no ttl).
    :ivar max_body: bytes of the largest request there. :ivar max_header: bytes of the largest header there.
    :ivar endpoints: the methods that it offers. :ivar endpoints_url: where it says which it offers, "" for nowhere.
    :ivar endpoints_ca_file: authorities to trust where that is https, PEM.
    :ivar checks: it is registered while all of them pass.
    """

    name: str
    id: str = ""
    version: str = ""
    host: str = ""
    port: int = 0
    advertise: tuple[str, int] | None = None
    metadata: Mapping[str, str] = EMPTY
    protocol: Literal["jsonrpc", "http"] = "jsonrpc"
    inbound: TcpPort = TcpPort(port=0)
    tls: TlsSettings = TlsSettings()
    ttl: float | None = None
    interval: float | None = None
    max_body: int = 64 * 1024 * 1024
    max_header: int = 1024 * 1024
    endpoints: tuple[Endpoint, ...] = ()
    endpoints_url: str = ""
    endpoints_ca_file: str = ""
    checks: tuple[CheckSettings, ...] = ()
    made_id: bool = False


@frozen
class StateSettings:
    """What survives a restart.

    :ivar data_dir: the directory that was named, "" for the default one, ``none`` for none.
    :ivar journal_entries: changes that the journal holds. :ivar journal_age: seconds for which it holds them.
    """

    data_dir: str = ""
    journal_entries: int = 100_000
    journal_age: float = 7 * 86_400.0


@frozen
class LogSettings:
    """What is logged and how.

    :ivar format: ``auto``, ``text``, ``json`` or ``journald``. :ivar told: whether it was asked for, as twistd needs.
    :ivar access: of which answers there is a line. :ivar otlp_endpoint: the collector that gets spans, "" for none.
    """

    format: str = "auto"
    levels: Levels = Levels()  # noqa: RUF009  # frozen
    told: bool = False
    access: Literal["off", "errors", "all"] = "errors"
    otlp_endpoint: str = ""


@frozen
class Settings:
    """All of it.

    :ivar apps: the apps beside us; flags name one at most, the configuration file more.
    :ivar cors: Origins that browsers may call from besides our own host; ``*`` among them means every one.
    :ivar hosts: names by which our ports may be asked, besides those of this machine; ``*`` among them means every one.
    :ivar drain_delay: seconds between leaving the registry and closing the port, for the news to spread.
    :ivar drain_timeout: seconds that calls in flight may take to finish once we were told to stop.
    """

    listen: ListenSettings = ListenSettings()
    tls: TlsSettings = TlsSettings()
    access: AccessSettings = AccessSettings()
    http: HttpSettings = HttpSettings()
    gateway: GatewaySettings = GatewaySettings()
    client: ClientSettings = ClientSettings()
    registry: RegistrySettings = RegistrySettings()
    broker: BrokerSettings = BrokerSettings()
    apps: tuple[AppSettings, ...] = ()
    state: StateSettings = StateSettings()
    log: LogSettings = LogSettings()
    cors: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    enable_stats: bool = False
    drain_delay: float = 0.0
    drain_timeout: float = 10.0
