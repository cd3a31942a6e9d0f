"""From ``[[app]]`` and ``[[app.check]]`` of the configuration file to the apps beside us and their checks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from twisted.python.usage import UsageError

from sidecar.daemon.cmdline import parsers
from sidecar.daemon.cmdline.apps import address_fault, endpoints_of_file, made_id, renewal, tls_fault
from sidecar.daemon.cmdline.configfile import ConfigTable
from sidecar.daemon.cmdline.given import Source
from sidecar.daemon.cmdline.kinds import unfit
from sidecar.daemon.cmdline.settings import AppSettings, CheckSettings, TcpPort, TlsSettings
from sidecar.model import Endpoint
from sidecar.wire.endpoints import declared, merging

_APP = (
    *("name", "address", "advertise", "id", "version", "metadata", "endpoints", "protocol", "inbound"),
    *("ttl", "interval", "check"),
    *("endpoints_file", "endpoints_url", "max_body", "max_header"),
    *("tls_cert_file", "tls_key_file", "tls_client_ca_file"),
)
_KINDS: tuple[Any, ...] = ("http", "tcp", "ttl", "grpc", "script", "systemd")
_OF_HTTP = ("status", "body", "header", "ca_file")
_CHECK = (
    *("name", *_KINDS, *_OF_HTTP),
    *("interval", "timeout", "rise", "fall", "initial", "critical_after"),
)


def apps(given: Source, tables: Iterable[ConfigTable], taken: Iterable[AppSettings]) -> Iterator[AppSettings]:
    """:param given: what flags say. :param taken: the apps that are named elsewhere.
    :raises UsageError: something in a table is no good, with its line."""
    ids = {app.id for app in taken}
    names = {check.name for app in taken for check in app.checks}
    for table in tables:
        app = _app(given, table, names)
        if app.id in ids:
            raise table.fault("id", f"{app.id} is the id of another app; each has its own")
        ids.add(app.id)
        yield app


def _app(given: Source, table: ConfigTable, names: set[str]) -> AppSettings:
    engines: tuple[str, ...] = given["registry"]
    table.check_keys(_APP)
    name, address = table.read("name", parsers.text), table.read("address", parsers.app_address)
    if not name or address is None:
        missing = "address" if name else "name"
        raise UsageError(f"{table.where()}: [[app]] has no {missing}; an app is registered by its name and address")
    advertise = table.read("advertise", parsers.host_port)
    protocol: Any = table.read("protocol", parsers.choice("jsonrpc", "http")) or "jsonrpc"
    told = engines if protocol != "http" and advertise is None else ()
    for key, where, carried in (("address", address, told), ("advertise", advertise, engines)):
        why = "" if where is None else address_fault(where[0], key == "advertise", carried)
        if why:
            raise table.fault(key, why)
    own_id = table.read("id", parsers.text)
    for key, text in (("name", name), ("id", own_id or "")):
        why = unfit(text, engines) if text else ""
        if why:
            raise table.fault(key, f"{why}; give a shorter one")
    try:
        ttl, interval = renewal(
            table.read("ttl", parsers.duration()), table.read("interval", parsers.positive_duration), engines
        )
    except ValueError as error:
        raise table.fault("interval", str(error)) from None
    return AppSettings(
        name=name,
        id=own_id or made_id(given, name, address, engines),
        version=table.read("version", parsers.text) or "",
        host=address[0],
        port=address[1],
        advertise=advertise,
        metadata=table.pairs("metadata"),
        protocol=protocol,
        inbound=table.read("inbound", parsers.tcp_port) or TcpPort(port=0),
        tls=_tls(table, protocol),
        ttl=ttl,
        interval=interval,
        max_body=table.read("max_body", parsers.size(1024)) or given["server_max_body"],
        max_header=table.read("max_header", parsers.size(1024)) or given["server_max_header"],
        endpoints=_endpoints(table, given),
        endpoints_url=table.read("endpoints_url", parsers.web_url) or "",
        checks=tuple(_check(one, names) for one in table.tables("check")),
        made_id=not own_id,
    )


def _tls(table: ConfigTable, protocol: str) -> TlsSettings:
    """What the port at which we answer for the app speaks."""
    cert, key, client_ca = (table.read(f"tls_{name}_file", parsers.text) or "" for name in ("cert", "key", "client_ca"))
    tls = TlsSettings(bool(cert or key or client_ca), cert, key, client_ca)
    why = tls_fault(tls, protocol, "tls_", 'protocol = "http"')
    if why:
        raise UsageError(f"{table.where()}: {why}")
    return tls


def _endpoints(table: ConfigTable, given: Source) -> tuple[Endpoint, ...]:
    """Those of the file that is named, and those that are listed."""
    named = tuple(_listed_endpoints(table))
    try:
        from_file = endpoints_of_file(table.read("endpoints_file", parsers.text) or "", given)
    except ValueError as error:
        raise table.fault("endpoints_file", str(error)) from None
    try:
        return merging.merged(from_file, declared.without_twins(named))
    except ValueError as error:
        raise table.fault("endpoints", str(error)) from None


def _listed_endpoints(table: ConfigTable) -> Iterator[Endpoint]:
    """``endpoints = ["Say.Hello"]``, each as a flag names it, or a table each with ``name`` and ``metadata``."""
    listed = table.values.get("endpoints", [])
    if not isinstance(listed, list):
        raise table.fault("endpoints", 'write a list: ["Say.Hello"]')
    for each in listed:
        if isinstance(each, str):
            try:
                yield from declared.read(each)
            except ValueError as error:
                raise table.fault("endpoints", f"{each!r}: {error}") from None
            continue
        if not isinstance(each, dict):
            raise table.fault("endpoints", 'write names, ["Say.Hello"], or tables, [{ name = "Say.Hello" }]')
        inner = ConfigTable(table.file, each, (*table.path, "endpoints"), {(*table.path, "endpoints"): _line(table)})
        inner.check_keys(("name", "metadata"))
        name = inner.read("name", parsers.text)
        if not name:
            raise table.fault("endpoints", "one of them has no name")
        yield Endpoint(name, metadata=inner.pairs("metadata"))


def _line(table: ConfigTable) -> int:
    return table.lines.get((*table.path, "endpoints"), 0)


def _check(table: ConfigTable, names: set[str]) -> CheckSettings:
    table.check_keys(_CHECK)
    name = table.read("name", parsers.text)
    if not name:
        raise UsageError(f"{table.where()}: [[app.check]] has no name; each has one of its own")
    if name in names:
        raise table.fault("name", f"{name} is the name of another check; each has one of its own")
    names.add(name)
    kinds = [kind for kind in _KINDS if kind in table.values]
    if len(kinds) != 1:
        said = f"it has {' and '.join(kinds)}" if kinds else "it does not say how to check"
        raise UsageError(f"{table.where()}: check {name}: {said}; give one of {', '.join(_KINDS)}")
    (kind,) = kinds
    for key in _OF_HTTP:
        if key in table.values and kind != "http":
            raise table.fault(key, f"it is for http checks, and {name} is {kind}")
    target = _target(table, kind)
    if "ca_file" in table.values and not target.lower().startswith("https:"):
        raise table.fault("ca_file", "it is for a URL that begins with https://")
    initial: Any = table.read("initial", parsers.choice("pass", "warn", "fail")) or ""
    read = table.read
    return CheckSettings(
        name=name,
        kind=kind,
        target=target,
        command=_command(table) if kind == "script" else (),
        ttl=(read("ttl", parsers.positive_duration) or 0.0) if kind == "ttl" else 0.0,
        status=tuple(_statuses(table)),
        body=read("body", str) or "",
        header=tuple(table.pairs("header").items()),
        ca_file=read("ca_file", parsers.text) or "",
        interval=read("interval", parsers.positive_duration) or 30.0,
        timeout=read("timeout", parsers.positive_duration) or 5.0,
        rise=read("rise", parsers.whole(1, 1000)) or 1,
        fall=read("fall", parsers.whole(1, 1000)) or 1,
        initial=initial,
        critical_after=read("critical_after", parsers.duration()) or 0.0,
    )


def _target(table: ConfigTable, kind: str) -> str:
    if kind == "http":
        return table.read(kind, parsers.web_url) or ""
    if kind == "tcp":
        table.read(kind, parsers.host_port)
    if kind == "grpc":
        table.read(kind, lambda text: parsers.host_port(text.partition("/")[0]))
    if kind in ("tcp", "grpc", "systemd"):
        text = table.read(kind, parsers.text)
        if not text:
            raise table.fault(kind, "it is empty")
        return text
    return ""


def _command(table: ConfigTable) -> tuple[str, ...]:
    """A list of the program and its arguments, or one string as a shell would split it."""
    value = table.values["script"]
    if isinstance(value, list):
        words = table.texts("script")
    else:
        try:
            words = tuple(shlex.split(table.text("script", value)))
        except ValueError as error:
            raise table.fault("script", f"it cannot be split into words: {error}") from None
    if not words or not words[0]:
        raise table.fault("script", 'it names no program; write ["/usr/local/bin/check", "argument"]')
    return words


def _statuses(table: ConfigTable) -> Iterator[int]:
    for text in table.texts("status"):
        if not text.isascii() or not text.isdigit() or not 100 <= int(text) <= 599:
            raise table.fault("status", f"{text} is no status; write 200, or a list of them")
        yield int(text)
