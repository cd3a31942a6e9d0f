"""From the values of single flags to ``Settings``: defaults that depend on one another, and what cannot go together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from attrs import frozen
from twisted.python.usage import UsageError

from sidecar.daemon.cmdline.advertise import is_everywhere
from sidecar.daemon.cmdline.kinds import BROKERS, REGISTRIES, kinds, node_id, unfit, unknown, unreachable
from sidecar.daemon.cmdline.parsers import HostPort
from sidecar.daemon.cmdline.settings import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    AppSettings,
    BrokerSettings,
    ClientSettings,
    EndpointPort,
    HealthSettings,
    HttpSettings,
    ListenSettings,
    LogSettings,
    RegistrySettings,
    Settings,
    TcpPort,
    TlsSettings,
)
from sidecar.model import BackendOptions
from sidecar.rpc.ejection import EjectionLimits
from sidecar.wire import durations

#: How long an app outlives a sidecar that crashed, on engines that other machines read (go-micro's own default).
_TTL = 60.0
#: What ``--client_pool_size=0`` (go-micro's default) means.
_POOL_SIZE = 512


@frozen
class Source:
    """What the user said.

    :ivar values: every flag's value by name, defaults included; None where there is none.
    :ivar precedences: where it was said (``sources.FLAG``, ``ENVIRONMENT``, ``FILE``); absent for a default.
    :ivar environ: for the variables that engines' own tools read.
    """

    values: Mapping[str, Any]
    precedences: Mapping[str, int]
    environ: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def text(self, name: str) -> str:
        return self.values[name] or ""

    def is_given(self, name: str) -> bool:
        return name in self.precedences


def settings(given: Source) -> Settings:
    """:raises UsageError: flags that cannot go together, or lack one another."""
    return Settings(
        listen=ListenSettings(_where(given)),
        tls=_tls(given),
        log=LogSettings(given["log_format"], given["log_level"], given.is_given("log_format")),
        http=HttpSettings(
            channel=given["http_channel"],
            max_header=given["max_header"],
            max_body=given["max_body"],
            header_timeout=given["header_timeout"],
            body_timeout=given["body_timeout"],
            idle_timeout=given["idle_timeout"],
        ),
        client=ClientSettings(
            request_timeout=given["client_request_timeout"],
            retries=given["client_retries"],
            retry=given["client_retry"],
            pool_size=given["client_pool_size"] or _POOL_SIZE,
            pool_ttl=min(given["client_pool_ttl"], 60.0),
            max_waiting=given["client_max_waiting"],
            selector=given["selector"],
            any_address=given["rpc_any_address"],
            retry_share=given["retry_budget"] / 100,
            ejection=EjectionLimits(
                given["eject_failures"],
                given["eject_time"],
                max(given["eject_time"], given["eject_max_time"]),
                given["eject_slow_start"],
                given["eject_panic"] / 100,
            ),
        ),
        registry=RegistrySettings(_registries(given)),
        broker=BrokerSettings(
            engine=_broker(given),
            slow=given["broker_slow"],
            outbox=given["broker_outbox"],
            outbox_messages=given["broker_outbox_messages"],
            max_message=given["broker_max_message"] or given["max_body"],
            max_connections=given["broker_max_connections"],
            ping_interval=given["broker_ping_interval"],
            ping_timeout=given["broker_ping_timeout"],
        ),
        apps=_apps(given),
        cors=given["sidecar_cors"] or (),
        hosts=given["sidecar_hosts"] or (),
        enable_stats=given["enable_stats"],
        drain_timeout=given["drain_timeout"],
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


def _registries(given: Source) -> tuple[BackendOptions, ...]:
    wanted: tuple[str, ...] = given["registry"]
    known = kinds(REGISTRIES)
    for kind in wanted:
        if kind not in known:
            raise UsageError(unknown(REGISTRIES, "registry", kind))
        if wanted.count(kind) > 1:
            raise UsageError(f"--registry={','.join(wanted)}: {kind} is named twice")
    for item in given["registry_address"] or ():
        named, _ = _addressee(item)
        if named and named not in wanted:
            raise UsageError(f"--registry_address={item}: {named} is not in --registry={','.join(wanted)}")
    return tuple(_engine(given, "registry", kind) for kind in wanted)


def _broker(given: Source) -> BackendOptions:
    kind = given["broker"].strip()
    if kind not in kinds(BROKERS):
        raise UsageError(unknown(BROKERS, "broker", kind))
    return _engine(given, "broker", kind)


def _addressee(item: str) -> tuple[str, str]:
    """:param item: ``127.0.0.1:8500`` or ``consul=127.0.0.1:8500``.
    :returns: the engine that the address is for, "" where it names none, and the address."""
    found = re.fullmatch(r"([A-Za-z0-9_-]+)=(.*)", item)
    return (found[1], found[2]) if found is not None else ("", item)


def _engine(given: Source, flag: str, kind: str) -> BackendOptions:
    every: tuple[str, ...] = given[f"{flag}_address"] or ()
    named = [_addressee(item) for item in every]
    own = tuple(address for name, address in named if name == kind)
    addresses = own or tuple(address for name, address in named if not name)
    username, password, token = (given.text(f"{flag}_{name}") for name in ("username", "password", "token"))
    if kind == "consul":
        addresses = addresses or tuple(filter(None, (given.environ.get("CONSUL_HTTP_ADDR", ""),)))
        token = token or given.environ.get("CONSUL_HTTP_TOKEN", "")
    if kind == "etcd":
        username = username or given.environ.get("ETCD_USERNAME", "")
        password = password or given.environ.get("ETCD_PASSWORD", "")
    cert, key = given.text(f"{flag}_cert_file"), given.text(f"{flag}_key_file")
    if bool(cert) != bool(key):
        raise UsageError(f"--{flag}_cert_file and --{flag}_key_file go together; one of them is missing")
    # The HTTP broker has no engine to reach: as in go-micro, its address is where it listens itself.
    listens = flag == "broker" and kind == "http"
    if listens and len(addresses) > 1:
        raise UsageError(f"--broker_address={','.join(addresses)}: the http broker listens at one address")
    return BackendOptions(
        kind=kind,
        addresses=() if listens else addresses,
        username=username,
        password=password,
        token=token,
        credentials_file=given.text(f"{flag}_credentials"),
        tls=given[f"{flag}_tls"],
        ca_file=given.text(f"{flag}_ca_file"),
        cert_file=cert,
        key_file=key,
        interface=given.text("mdns_interface") if kind == "mdns" else "",
        listen="".join(addresses) if listens else "",
    )


def _apps(given: Source) -> tuple[AppSettings, ...]:
    name, address = given.text("server_name").strip(), given["server_address"]
    url = given.text("healthcheck_url")
    _health_authority(given)
    if url and not name:
        raise UsageError(
            f"--healthcheck_url={url} checks the app of --server_name and --server_address; give those too"
        )
    if not name and address is None:
        return ()
    if not name:
        raise UsageError("--server_address is given without --server_name; an app is registered by both")
    if address is None:
        raise UsageError(f"--server_name={name} is given without --server_address; an app is registered by both")
    ttl, interval = _renewal(given)
    engines: tuple[str, ...] = given["registry"]
    host, port = address
    advertise: tuple[str, int] | None = given["server_advertise"]
    _check_addresses(given, engines)
    app = AppSettings(
        name=name,
        id=_node_id(given, name, engines),
        version=given.text("server_version"),
        host=host,
        port=port,
        advertise=advertise,
        metadata=given["server_metadata"] or {},
        protocol=given["server_protocol"],
        inbound=given["server_inbound"],
        ttl=ttl,
        interval=interval,
        health=HealthSettings(
            url=url,
            ca_file=_health_authority(given),
            interval=given["healthcheck_interval"],
            timeout=given["healthcheck_timeout"],
            rise=given["healthcheck_rise"],
            fall=given["healthcheck_fall"],
        ),
    )
    return (app,)


def _health_authority(given: Source) -> str:
    path, url = given.text("healthcheck_ca_file"), given.text("healthcheck_url")
    if path and not url.lower().startswith("https:"):
        raise UsageError(f"--healthcheck_ca_file={path} is for a --healthcheck_url that begins with https://")
    return path


def _check_addresses(given: Source, engines: tuple[str, ...]) -> None:
    """:raises UsageError: an address of the app is one at which nobody can be reached."""
    address, advertise = given["server_address"], given["server_advertise"]
    for flag, where in (("server_address", address), ("server_advertise", advertise)):
        if where is None:
            continue
        shown = f"--{flag}={f'[{where[0]}]' if ':' in where[0] else where[0]}:{where[1]}"
        if _is_of_many(where[0]):
            raise UsageError(f"{shown}: it is an address of many machines or of none; write the one of this machine")
        if flag == "server_advertise" and is_everywhere(where[0]):
            raise UsageError(f"{shown}: it is every interface; write the address by which others reach the app")
    if given["server_protocol"] == "http" and advertise is None:
        return  # what is registered is a port of our own
    flag, (host, port) = ("server_address", address) if advertise is None else ("server_advertise", advertise)
    why = "" if is_everywhere(host) or host == "localhost" else unreachable(host, engines)
    if why:
        raise UsageError(f"--{flag}={host}:{port}: {why}")


def _is_of_many(host: str) -> bool:
    """Whether it is a multicast or broadcast address."""
    try:
        return ip_address(host).is_multicast or host == "255.255.255.255"
    except ValueError:
        return False


def _node_id(given: Source, name: str, engines: tuple[str, ...]) -> str:
    """:raises UsageError: an engine cannot hold the id that was given, or the name of the service."""
    for flag in ("server_name", "server_id"):
        why = unfit(given.text(flag).strip(), engines) if given.text(flag) else ""
        if why:
            raise UsageError(f"--{flag}={given.text(flag)}: {why}; give a shorter one, or choose another --registry")
    return given.text("server_id") or node_id(name, engines)


def _renewal(given: Source) -> tuple[float | None, float | None]:
    """:returns: ttl and interval in seconds, or None and None where nothing expires."""
    ttl, interval = given["register_ttl"], given["register_interval"]
    if ttl is None:
        # Nobody but us reads our memory: it goes when we go.
        ttl = 0.0 if set(given["registry"]) == {"memory"} else max(_TTL, 2 * (interval or 0.0))
    if not ttl:
        return None, None
    interval = interval or ttl / 2
    if interval >= ttl:
        raise UsageError(
            f"--register_interval={durations.format(interval)}: it must be shorter than --register_ttl"
            f" ({durations.format(ttl)}), or the app expires between renewals"
        )
    return ttl, interval
