"""From the values of flags to the app beside us: where it is, how it is registered and checked."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.python.usage import UsageError

from sidecar.daemon.cmdline.advertise import is_everywhere
from sidecar.daemon.cmdline.given import Source
from sidecar.daemon.cmdline.kinds import node_id, unfit, unreachable
from sidecar.daemon.cmdline.settings import AppSettings, HealthSettings
from sidecar.wire import durations

#: How long an app outlives a sidecar that crashed, on engines that other machines read (go-micro's own default).
_TTL = 60.0


def apps(given: Source) -> tuple[AppSettings, ...]:
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
