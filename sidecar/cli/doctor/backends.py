"""Whether the engines of registry and broker can be reached, in what state they are, and what time it is there."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Collection, Iterator
from urllib.parse import urlsplit

from sidecar.cli.connecting import connect
from sidecar.cli.doctor import network
from sidecar.cli.doctor.diagnosis import Diagnosis, fault, ok, warning
from sidecar.model import BackendOptions
from sidecar.wire.registry.etcd import PREFIX

#: Names of services that are shown.
_SHOWN = 10
#: By kind: the port where an address names none, and a command that starts one.
_DEFAULTS = {
    "consul": (8500, "consul agent -dev"),
    "etcd": (2379, "etcd"),
    "nats": (4222, "nats-server"),
    "rabbitmq": (5672, "rabbitmq-server"),
    "redis": (6379, "redis-server"),
}


def examine(role: str, options: BackendOptions) -> Iterator[Diagnosis]:
    """:param role: ``registry`` or ``broker``."""
    subject = f"{role} {options.kind}"
    if options.kind == "memory":
        yield ok(subject, "inside the sidecar, nothing to reach")
        return
    if options.kind in ("mdns", "http"):
        yield ok(subject, "speaks to its peers directly, no server to reach")
        return
    if options.kind not in _DEFAULTS:
        yield ok(subject, "comes from another package; only a start shows how it is")
        return
    port, start = _DEFAULTS[options.kind]
    for address in options.addresses or (f"127.0.0.1:{port}",):
        yield from _one(role, subject, options, address, port, start)


def _one(role: str, subject: str, options: BackendOptions, address: str, port: int, start: str) -> Iterator[Diagnosis]:
    split = urlsplit(address if "://" in address else f"//{address}")
    host, port = split.hostname or "127.0.0.1", split.port or port
    where = f"{f'[{host}]' if ':' in host else host}:{port}"
    tls = _context(options) if options.tls or split.scheme in ("https", "tls", "amqps", "rediss") else None
    try:
        told, skew = _ASK[options.kind](host, port, tls)
    except OSError as error:
        fix = f"start it, or name where it is by --{role}_address=HOST:PORT"
        yield fault(subject, f"{where}: {network.why(error)}", fix, start)
        return
    except ValueError as error:
        fix = f"--{role}_address names something else than {options.kind}; give the address of its own port"
        yield fault(subject, f"{where} answers, but {error}", fix)
        return
    yield ok(subject, f"{where} answers: {told}")
    if skew is not None:
        yield clock(f"{options.kind} at {where}", skew)


def clock(whose: str, skew: float) -> Diagnosis:
    """:param skew: seconds that the clock of ``whose`` is ahead of ours."""
    if abs(skew) <= network.TOLERANCE:
        return ok("clock", f"agrees with that of {whose}")
    told = f"is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} that of {whose}"
    return fault("clock", told, "set this machine's clock, or theirs, by NTP", "timedatectl set-ntp true")


def _context(options: BackendOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.ca_file or None)
    if options.cert_file:
        context.load_cert_chain(options.cert_file, options.key_file or None)
    return context


Ask = Callable[[str, int, ssl.SSLContext | None], tuple[str, float | None]]


def _consul(host: str, port: int, tls: ssl.SSLContext | None) -> tuple[str, float | None]:
    answer = network.get(host, port, "/v1/status/leader", tls=tls)
    leader = _json(answer)
    if answer.status == 200 and not leader:
        raise ValueError("it has no leader: the cluster takes no writes")
    if answer.status not in (200, 403):
        raise ValueError(f"GET /v1/status/leader is {answer.status}: it is no Consul")
    if answer.status == 403:
        return "it wants a token", answer.skew
    listed = network.get(host, port, "/v1/catalog/services", tls=tls)
    names = json.loads(listed.body) if listed.status == 200 else {}
    return f"its leader is {leader}{_there(set(names) - {'consul'})}", answer.skew


def _there(names: Collection[str]) -> str:
    """:returns: who else is there, in words."""
    shown = sorted(names)[:_SHOWN]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"; services there: {', '.join(shown)}{more}" if shown else "; no service is there"


def _etcd(host: str, port: int, tls: ssl.SSLContext | None) -> tuple[str, float | None]:
    answer = network.get(host, port, "/version", tls=tls)
    told = _json(answer)
    if not isinstance(told, dict) or "etcdserver" not in told:
        raise ValueError("GET /version names no etcd")
    health = network.get(host, port, "/health", tls=tls)
    sick = health.status != 200
    if sick:
        raise ValueError(f"GET /health is {health.status}: it has no leader, or is out of space")
    return f"version {told['etcdserver']}, healthy{_in_etcd(host, port, tls)}", answer.skew


def _in_etcd(host: str, port: int, tls: ssl.SSLContext | None) -> str:
    first, last = (base64.b64encode(key).decode() for key in (PREFIX.encode(), PREFIX.encode()[:-1] + b"0"))
    asked = json.dumps({"key": first, "range_end": last, "keys_only": True, "limit": 10_000}).encode()
    listed = network.get(host, port, "/v3/kv/range", tls=tls, method="POST", body=asked)
    if listed.status != 200:
        return ""  # it wants to know who asks
    try:
        keys = [base64.b64decode(each["key"]).decode() for each in json.loads(listed.body).get("kvs", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return _there({key[len(PREFIX) :].partition("/")[0] for key in keys})


def _nats(host: str, port: int, tls: ssl.SSLContext | None) -> tuple[str, float | None]:
    line = _first_line(host, port, b"")
    if not line.startswith(b"INFO "):
        raise ValueError("it does not greet as NATS does")
    told = json.loads(line[5:])
    return f"version {told.get('version')}", None


def _redis(host: str, port: int, tls: ssl.SSLContext | None) -> tuple[str, float | None]:
    line = _first_line(host, port, b"PING\r\n", tls)
    if line[:1] not in (b"+", b"-"):
        raise ValueError("it does not speak Redis")
    return "it wants a password" if line.startswith(b"-NOAUTH") else "ready", None


def _rabbitmq(host: str, port: int, tls: ssl.SSLContext | None) -> tuple[str, float | None]:
    line = _first_line(host, port, b"AMQP\x00\x00\x09\x01", tls)
    if not line.startswith(b"\x01"):
        raise ValueError("it does not speak AMQP 0-9-1")
    return "speaks AMQP 0-9-1", None


_ASK: dict[str, Ask] = {"consul": _consul, "etcd": _etcd, "nats": _nats, "redis": _redis, "rabbitmq": _rabbitmq}


def _json(answer: network.Answered) -> object:
    try:
        return json.loads(answer.body)
    except ValueError:
        if answer.status == 403:
            return ""
        raise ValueError("it does not answer in JSON") from None


def _first_line(host: str, port: int, say: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    with connect(host, port, network.PATIENCE) as plain:
        plain.settimeout(network.PATIENCE)
        peer = tls.wrap_socket(plain, server_hostname=host) if tls is not None else plain
        if say:
            peer.sendall(say)
        return peer.recv(65536)


def expiry(subject: str, days: float) -> Diagnosis:
    """:param days: that a certificate is still good for."""
    if days < 0:
        fix = "renew it, and send the sidecar SIGHUP: no connection is dropped"
        return fault(subject, f"ended {-days:.0f} days ago", fix, "systemctl reload microsidecar")
    if days < 14:
        return warning(subject, f"ends in {days:.0f} days", "renew it, then reload", "systemctl reload microsidecar")
    return ok(subject, f"good for {days:.0f} days")
