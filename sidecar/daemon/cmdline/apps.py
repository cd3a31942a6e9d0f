"""From the values of flags to the app beside us: where it is, how it is registered and checked."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.python.usage import UsageError

from sidecar.daemon.cmdline.advertise import is_everywhere
from sidecar.daemon.cmdline.given import Source
from sidecar.daemon.cmdline.kinds import node_id, unfit, unreachable
from sidecar.daemon.cmdline.settings import AppSettings, CheckSettings, TlsSettings
from sidecar.model import Endpoint
from sidecar.wire import durations
from sidecar.wire.endpoints import document, merging
from sidecar.wire.fields import RegistrationLimits

#: How long an app outlives a sidecar that crashed, on engines that other machines read (go-micro's own default).
_TTL = 60.0
#: What says which methods the app offers.
_OF_ENDPOINTS = ("server_endpoint", "server_endpoints", "server_endpoints_url")
#: Bytes of the largest document of endpoints.
MOST_ENDPOINTS = 4 * 1024 * 1024


def flagged_app(given: Source) -> tuple[AppSettings, ...]:
    name, address = given.text("server_name").strip(), given["server_address"]
    url = given.text("healthcheck_url")
    _health_authority(given)
    if not name and (said := next((one for one in _OF_ENDPOINTS if given.is_given(one)), "")):
        raise UsageError(f"--{said} tells of the app of --server_name and --server_address; give those too")
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
    engines: tuple[str, ...] = given["registry"]
    try:
        ttl, interval = renewal(given["register_ttl"], given["register_interval"], engines)
    except ValueError as error:
        shown = durations.format(given["register_interval"])
        raise UsageError(f"--register_interval={shown}: {error}; see --register_ttl") from None
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
        tls=_tls(given),
        max_body=given["server_max_body"],
        max_header=given["server_max_header"],
        endpoints=_endpoints(given),
        endpoints_url=given.text("server_endpoints_url"),
        endpoints_ca_file=given.text("healthcheck_ca_file"),
        ttl=ttl,
        interval=interval,
        checks=(_check(given, url),) if url else (),
        made_id=not given.text("server_id"),
    )
    return (app,)


def _check(given: Source, url: str) -> CheckSettings:
    return CheckSettings(
        name="healthcheck_url",
        target=url,
        ca_file=_health_authority(given),
        interval=given["healthcheck_interval"],
        timeout=given["healthcheck_timeout"],
        rise=given["healthcheck_rise"],
        fall=given["healthcheck_fall"],
    )


def _tls(given: Source) -> TlsSettings:
    """What the port at which we answer for the app speaks."""
    cert, key, client_ca = (given.text(f"server_tls_{name}_file") for name in ("cert", "key", "client_ca"))
    tls = TlsSettings(bool(cert or key or client_ca), cert, key, client_ca)
    why = tls_fault(tls, given["server_protocol"], "--server_tls_", "--server_protocol=http")
    if why:
        raise UsageError(why)
    return tls


def _endpoints(given: Source) -> tuple[Endpoint, ...]:
    """Those of the file, and those that are named."""
    path, named = given.text("server_endpoints"), given["server_endpoint"] or ()
    try:
        return merging.merged(endpoints_of_file(path, given), named)
    except ValueError as error:
        raise UsageError(f"--server_endpoints={path}: {error}") from None


def endpoints_of_file(path: str, given: Source) -> tuple[Endpoint, ...]:
    """:param path: "" for none. :raises ValueError: the file cannot be read, in words."""
    if not path:
        return ()
    try:
        with open(path, "rb") as file:
            body = file.read(MOST_ENDPOINTS + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    if len(body) > MOST_ENDPOINTS:
        raise ValueError(f"it is larger than {MOST_ENDPOINTS} bytes")
    return document.read(body, RegistrationLimits(endpoints=given["max_endpoints"]))


def tls_fault(tls: TlsSettings, protocol: str, prefix: str, http: str) -> str:
    """:param prefix: how the names of the files begin. :param http: how one says that we translate for the app.
    :returns: why the files cannot go together, in words; "" where they can."""
    if not tls.enabled:
        return ""
    if protocol != "http":
        return f"{prefix}* is for the port that {http} opens; an app that answers go-micro itself has its own TLS"
    if not (tls.cert_file and tls.key_file):
        missing = "key" if tls.cert_file else "cert"
        return f"{prefix}{missing}_file is missing: TLS needs both {prefix}cert_file and {prefix}key_file (PEM)"
    return ""


def _health_authority(given: Source) -> str:
    path, url = given.text("healthcheck_ca_file"), given.text("healthcheck_url")
    if path and not url.lower().startswith("https:"):
        raise UsageError(f"--healthcheck_ca_file={path} is for a --healthcheck_url that begins with https://")
    return path


def _check_addresses(given: Source, engines: tuple[str, ...]) -> None:
    """:raises UsageError: an address of the app is one at which nobody can be reached."""
    address, advertise = given["server_address"], given["server_advertise"]
    # Where we answer for the app, a port of our own is registered.
    told = engines if given["server_protocol"] != "http" and advertise is None else ()
    for flag, where, carried in (("server_address", address, told), ("server_advertise", advertise, engines)):
        why = "" if where is None else address_fault(where[0], flag == "server_advertise", carried)
        if why:
            raise UsageError(f"--{flag}={f'[{where[0]}]' if ':' in where[0] else where[0]}:{where[1]}: {why}")


def address_fault(host: str, advertised: bool, engines: tuple[str, ...]) -> str:
    """:param advertised: whether others are told it as it is. :param engines: those that carry it.
    :returns: why nobody can be reached at ``host``, in words; "" where somebody may be."""
    if _is_of_many(host):
        return "it is an address of many machines or of none; write the one of this machine"
    if is_everywhere(host):
        return "it is every interface; write the address by which others reach the app" if advertised else ""
    return "" if host == "localhost" else unreachable(host, engines)


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
    return given.text("server_id") or made_id(given, name, given["server_address"], engines)


def made_id(given: Source, name: str, address: tuple[str, int], engines: tuple[str, ...]) -> str:
    """:returns: the id of an app that was given none: the same one for as long as we run."""
    return given.ids.setdefault(f"{name} {address}", node_id(name, engines))


def renewal(ttl: float | None, interval: float | None, engines: tuple[str, ...]) -> tuple[float | None, float | None]:
    """:param ttl: seconds, None where it was not said. :param interval: seconds between renewals, likewise.
    :returns: both, or None and None where nothing expires.
    :raises ValueError: the interval is too long, in words.
    """
    if ttl is None:
        # Nobody but us reads our memory: it goes when we go.
        ttl = 0.0 if set(engines) == {"memory"} else max(_TTL, 2 * (interval or 0.0))
    if not ttl:
        return None, None
    interval = interval or ttl / 2
    if interval >= ttl:
        raise ValueError(
            f"it must be shorter than the ttl ({durations.format(ttl)}), or the app expires between renewals"
        )
    return ttl, interval
