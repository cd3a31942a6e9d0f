"""Readers of the texts that flags and environment variables are given. Each raises ValueError with a sentence."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from attrs import frozen

from sidecar.daemon.cmdline.settings import EndpointPort, TcpPort
from sidecar.daemon.logs.levels import Levels
from sidecar.model import Endpoint
from sidecar.net.client.addressrules import Network, network
from sidecar.wire import durations, sizes
from sidecar.wire.endpoints import declared
from sidecar.wire.fields import is_host

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_ENDPOINT = re.compile(r"([A-Za-z][A-Za-z0-9_]*):")
_TRUE = {"true", "t", "1", "yes", "on"}
_FALSE = {"false", "f", "0", "no", "off"}


@frozen
class HostPort:
    """A host, a port, or both. :ivar host: without brackets, "" for all interfaces, None when it was not given."""

    host: str | None
    port: int | None


def text(given: str) -> str:
    """Any text."""
    return given


def file_mode(given: str) -> int:
    """Permissions in octal digits."""
    if not re.fullmatch(r"0?o?[0-7]{3}", given):
        raise ValueError("write permissions in octal, such as 0660")
    return int(given[-3:], 8)


def boolean(given: str) -> bool:
    word = given.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("write true or false")
    return word in _TRUE


def duration(least: float = 0.0) -> Callable[[str], float]:
    """A Go duration or a bare number of seconds, ``least`` seconds or more."""

    def parse(given: str) -> float:
        seconds = _seconds(given)
        if seconds < least:
            raise ValueError(f"it must be at least {durations.format(least)}")
        return seconds

    return parse


def _seconds(given: str) -> float:
    """A bare number of seconds, or a duration, which may begin with days."""
    if _NUMBER.fullmatch(given):
        return float(given)
    return durations.with_days(given)


def positive_duration(given: str) -> float:
    seconds = duration()(given)
    if seconds <= 0:
        raise ValueError("it must be more than 0; write a duration such as 5s or 300ms")
    return seconds


def size(least: int) -> Callable[[str], int]:
    """A size in bytes, ``least`` or more."""

    def parse(given: str) -> int:
        count = sizes.parse(given)
        if count < least:
            raise ValueError(f"it must be at least {sizes.format(least)}")
        return count

    return parse


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number from ``least`` to ``most``."""

    def parse(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", given) or not least <= int(given) <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return int(given)

    return parse


def choice(*words: str, also: dict[str, str] | None = None) -> Callable[[str], str]:
    """One of ``words``; ``also`` maps what go-micro calls them to ours."""

    def parse(given: str) -> str:
        word = given.strip().lower()
        word = (also or {}).get(word, word)
        if word not in words:
            raise ValueError(f"it must be {', '.join(words[:-1])} or {words[-1]}")
        return word

    return parse


def listed(given: str) -> tuple[str, ...]:
    """A comma list, empty items dropped."""
    return tuple(item.strip() for item in given.split(",") if item.strip())


def pairs(given: str) -> dict[str, str]:
    """``key=value``, or several with commas between (a comma without a following ``key=`` belongs to the value)."""
    found: dict[str, str] = {}
    for item in re.split(r",(?=[^,=]+=)", given):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ValueError("write key=value")
        found[key.strip()] = value
    return found


def endpoints(given: str) -> tuple[Endpoint, ...]:
    """``Say.Hello;description=Greets``, or several with commas between."""
    return declared.read(given)


def levels(given: str) -> Levels:
    """Log levels: one for all, others by namespace."""
    return Levels.parse(given)


def origins(given: str) -> tuple[str, ...]:
    """Origins of browsers: ``https://app.example``, or ``*`` for every one."""
    found = []
    for item in listed(given):
        split = urlsplit(item)
        if item != "*" and (not split.scheme or not split.netloc or split.path not in ("", "/")):
            raise ValueError(f"{item!r} is not an Origin; write https://app.example or http://localhost:3000, or *")
        found.append(item.rstrip("/").lower())
    return tuple(found)


def host_names(given: str) -> tuple[str, ...]:
    """Host names without a port: ``micro.example.com``, ``*.example.com`` for all below one, ``*`` for every one."""
    found = []
    for item in listed(given):
        name = item.removeprefix("*.")
        if item != "*" and not re.fullmatch(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*\.?", name):
            raise ValueError(f"{item!r} is no host name; write micro.example.com, *.example.com, or * (without a port)")
        found.append(item.lower())
    return tuple(found)


def namespace(given: str) -> str:
    """What names of services begin with: ``go.micro.srv``, with a dot at its end or without."""
    found = given.strip().removesuffix(".")
    if not re.fullmatch(r"[^\s/.]+(\.[^\s/.]+)*", found):
        raise ValueError("write the beginning of names, such as go.micro.srv, without spaces and slashes")
    return found


def networks(given: str) -> tuple[Network, ...]:
    """IP addresses and networks: ``169.254.10.0/24,fe80::/10``."""
    return tuple(map(_network, listed(given)))


def _network(item: str) -> Network:
    try:
        return network(item)
    except ValueError:
        raise ValueError(f"{item!r} is no IP address or network; write 169.254.10.5 or 169.254.10.0/24") from None


def web_url(given: str) -> str:
    """An http or https URL."""
    try:
        split = urlsplit(given)
        host = split.hostname or ""
        name = host if host.isascii() else host.encode("idna").decode("ascii")
        valid = split.scheme in ("http", "https") and is_host(name) and split.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"[\x00-\x20\x7f]", given):
        raise ValueError("write a URL such as http://127.0.0.1:9090/_status/health")
    return given


def host_port(given: str) -> tuple[str, int]:
    """``host:port``, both needed, IPv6 literals in brackets. :returns: the host without brackets, and the port."""
    found = address(given)
    if not found.host or not found.port:
        raise ValueError("write host:port, such as 127.0.0.1:9090")
    return found.host, found.port


def app_address(given: str) -> tuple[str, int]:
    """Where an app listens: ``host:port``, or ``:port`` for every interface. :returns: the host, "" for all, and the
    port."""
    found = address(given)
    if found.host is None or not found.port:
        raise ValueError("write host:port, such as 127.0.0.1:9090")
    return found.host, found.port


def address(given: str) -> HostPort:
    """``host:port``, ``:port`` (all interfaces), or a host alone."""
    given = given.strip()
    if given.startswith("["):
        host, bracket, rest = given[1:].partition("]")
        if not bracket or not _is_ip(host) or (rest and not rest.startswith(":")):
            raise ValueError("write an IPv6 address with its port as [::1]:8081")
        return HostPort(host, _port(rest[1:]) if rest else None)
    if given.count(":") > 1:
        if _is_ip(given):
            return HostPort(given, None)
        raise ValueError("write host:port, with an IPv6 address in brackets: [::1]:8081")
    host, colon, port = given.partition(":")
    if host == "*":
        host = ""
    if host and not is_host(host):
        raise ValueError(f"{host!r} is neither a host name nor an IP address; write host:port")
    if not host and not colon:
        raise ValueError("write host:port, such as 127.0.0.1:8081")
    return HostPort(host, _port(port) if colon else None)


def tcp_port(given: str) -> TcpPort:
    """``host:port`` to listen on; the port may be 0."""
    found = address(given)
    if found.port is None:
        raise ValueError("the port is missing; write host:port, such as 127.0.0.1:9091")
    return TcpPort(found.host or "", found.port)


def port(given: str) -> int | TcpPort | EndpointPort:
    """What ``--port`` takes: a number, or a Twisted endpoint string."""
    given = given.strip()
    if given.isascii() and given.isdigit():
        return _port(given)
    kind = _ENDPOINT.match(given)
    if kind is None:
        raise ValueError(
            "write a port number, or an endpoint such as tcp:8081:interface=127.0.0.1 or unix:/run/micro.sock"
            " (host:port goes to --address)"
        )
    return _tcp_endpoint(given) if kind[1] == "tcp" else EndpointPort(given)


def _tcp_endpoint(given: str) -> TcpPort | EndpointPort:
    """``tcp:8081:interface=127.0.0.1`` is a port of our own making; with other arguments it is left to Twisted."""
    number, host = "", ""
    for place, item in enumerate(re.split(r"(?<!\\):", given)[1:]):
        key, equals, value = item.replace("\\:", ":").partition("=")
        if place == 0 and not equals:
            number = key
        elif key == "port":
            number = value
        elif key == "interface":
            host = value
        else:
            return EndpointPort(given)
    if host and not _is_ip(host):
        raise ValueError(f"{host!r} is not an IP address; an interface is given by its address")
    return TcpPort(host, _port(number))


def _port(given: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", given) or int(given) > 65535:
        raise ValueError(f"{given!r} is not a port; ports are 0 to 65535")
    return int(given)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
