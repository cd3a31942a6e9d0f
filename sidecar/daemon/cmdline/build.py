"""From the values of single flags to ``Settings``: defaults that depend on one another, and what cannot go together."""

from __future__ import annotations

from twisted.python.usage import UsageError

from sidecar.daemon.cmdline import apptables
from sidecar.daemon.cmdline.apps import flagged_app
from sidecar.daemon.cmdline.calls import client
from sidecar.daemon.cmdline.configfile import ConfigTable
from sidecar.daemon.cmdline.engines import broker, registries
from sidecar.daemon.cmdline.given import Source
from sidecar.daemon.cmdline.parsers import HostPort
from sidecar.daemon.cmdline.settings import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    AccessSettings,
    BrokerSettings,
    EndpointPort,
    GatewaySettings,
    HttpSettings,
    ListenSettings,
    LogSettings,
    RegistrySettings,
    Settings,
    StateSettings,
    TcpPort,
    TlsSettings,
)
from sidecar.net.peers import Shares
from sidecar.wire.gateway import mapping


def settings(given: Source, tables: tuple[ConfigTable, ...] = ()) -> Settings:
    """:param tables: the apps that the configuration file names.
    :raises UsageError: flags that cannot go together, or lack one another."""
    named = flagged_app(given)
    return Settings(
        listen=ListenSettings(_where(given)),
        tls=_tls(given),
        log=LogSettings(
            given["log_format"],
            given["log_level"],
            given.is_given("log_format"),
            given["access_log"],
            given["otlp_endpoint"] or "",
        ),
        access=AccessSettings(
            tokens=given.text("auth_tokens"),
            roles=given.text("auth_roles"),
            insecure_listen=given["insecure_listen"],
            socket_mode=given["socket_mode"],
            socket_group=given.text("socket_group"),
        ),
        state=StateSettings(given.text("data_dir"), given["journal_entries"], given["journal_age"]),
        http=_http(given),
        gateway=_gateway(given),
        client=client(given),
        registry=RegistrySettings(registries(given)),
        broker=BrokerSettings(
            engine=broker(given),
            slow=given["broker_slow"],
            outbox=given["broker_outbox"],
            outbox_messages=given["broker_outbox_messages"],
            max_message=given["broker_max_message"] or given["max_body"],
            max_connections=given["broker_max_connections"],
            max_incomplete=given["broker_max_incomplete"],
            ping_interval=given["broker_ping_interval"],
            ping_timeout=given["broker_ping_timeout"],
        ),
        apps=(*named, *apptables.apps(given, tables, named)),
        cors=given["sidecar_cors"] or (),
        hosts=given["sidecar_hosts"] or (),
        enable_stats=given["enable_stats"],
        drain_delay=given["drain_delay"],
        drain_timeout=given["drain_timeout"],
    )


def _http(given: Source) -> HttpSettings:
    message = given["broker_max_message"] or given["max_body"]
    least = max(given["max_body"], message)
    if given["max_memory"] and given["max_memory"] < least:
        raise UsageError(f"--max_memory={given['max_memory']}: one body or message may have {least} bytes (--max_body)")
    return HttpSettings(
        channel=given["http_channel"],
        max_header=given["max_header"],
        max_body=given["max_body"],
        max_connections=given["max_connections"],
        max_memory=given["max_memory"] or 0,
        max_nodes=given["max_nodes"],
        max_endpoints=given["max_endpoints"],
        max_values=given["max_values"],
        header_timeout=given["header_timeout"],
        body_timeout=given["body_timeout"],
        idle_timeout=given["idle_timeout"],
        queue_timeout=given["queue_timeout"],
        shares=_shares(given),
    )


def _shares(given: Source) -> Shares:
    """A quarter of what there may be in all, where no flag says otherwise."""
    connections, lasting = -(-given["max_connections"] // 4), -(-given["broker_max_connections"] // 4)
    return Shares(
        connections=given["max_peer_connections"] or connections,
        requests=given["max_peer_requests"] or connections,
        websockets=given["max_peer_websockets"] or lasting,
        subscriptions=given["max_peer_subscriptions"] or lasting,
    )


def _where(given: Source) -> TcpPort | EndpointPort:
    """``--port`` or ``--address``, whichever has the source that counts more; those of one source have to agree."""
    port: int | TcpPort | EndpointPort = given["port"]
    address: HostPort | None = given["address"]
    precedence = {name: given.precedences.get(name, 0) for name in ("port", "address")}
    if address is None or precedence["port"] > precedence["address"]:
        return TcpPort(DEFAULT_HOST, port) if isinstance(port, int) else port
    host = DEFAULT_HOST if address.host is None else address.host
    if precedence["port"] < precedence["address"]:
        return TcpPort(host, DEFAULT_PORT if address.port is None else address.port)
    if precedence["port"] and (not isinstance(port, int) or address.port not in (None, port)):
        raise UsageError("--port and --address name different places; give one of them")
    return TcpPort(host, port) if isinstance(port, int) else port


def _gateway(given: Source) -> GatewaySettings:
    """A namespace that was given counts, an empty one too."""
    mode = given["sidecar_handler"]
    if mode != "rpc" and given["http_channel"] != "fast":
        raise UsageError(
            f"--sidecar_handler={mode} needs --http_channel=fast: the other one takes no bodies as they come"
        )
    usual = mapping.WEB if mode == "web" else mapping.SERVICES
    return GatewaySettings(mode, given.text("sidecar_namespace") if given.is_given("sidecar_namespace") else usual)


def _tls(given: Source) -> TlsSettings:
    cert, key, client_ca = (given.text(f"tls_{name}_file") for name in ("cert", "key", "client_ca"))
    # A certificate without the switch can only mean TLS: never serve in the clear what was meant to be covered.
    enabled = given["enable_tls"] if given.is_given("enable_tls") else bool(cert or key)
    if enabled and not (cert and key):
        missing = "--tls_key_file" if cert else "--tls_cert_file"
        raise UsageError(f"{missing} is missing: TLS needs both --tls_cert_file and --tls_key_file (PEM)")
    if client_ca and not enabled and not given.is_given("enable_tls"):
        raise UsageError("--tls_client_ca_file needs --enable_tls with --tls_cert_file and --tls_key_file")
    return TlsSettings(enabled, cert, key, client_ca)
