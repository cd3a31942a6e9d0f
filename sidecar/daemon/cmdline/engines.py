"""From the values of flags to the engines of the registry and the broker."""

from __future__ import annotations

import re

from twisted.python.usage import UsageError

from sidecar.daemon.cmdline.given import Source
from sidecar.daemon.cmdline.kinds import BROKERS, REGISTRIES, kinds, unknown
from sidecar.model import BackendOptions


def registries(given: Source) -> tuple[BackendOptions, ...]:
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


def broker(given: Source) -> BackendOptions:
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
        events_create=flag == "broker" and given["broker_events_create"],
    )
