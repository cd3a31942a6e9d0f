"""Flags that make no sense here: those of the original and of go-micro, and those that others leave nothing to do.

Of the former it is said what to use instead, of the latter what they need. Whoever types such a flag is told, and
nothing starts; where it only tunes something that is not there, and where it comes from a variable or a file, which
many daemons may share, it is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen
from twisted.python.usage import UsageError

from sidecar.daemon.cmdline.flags import BY_NAME
from sidecar.daemon.cmdline.given import FLAG, Source
from sidecar.daemon.cmdline.settings import Settings

_NO_WEB = "the web dashboard of micro is not part of the sidecar; see --enable_stats for /stats"
_NO_API = "the micro API gateway is not part of the sidecar; it serves /rpc, /registry and /broker on --address"
_NO_ACME = (
    "get a certificate with certbot and give it by --enable_tls --tls_cert_file=fullchain.pem"
    " --tls_key_file=privkey.pem"
)
_BY_NODE = (
    "leave it out: each node is called in the dialect that its registration names; see --server_protocol for the app"
)
_NO_TRANSPORT = (
    "leave it out: go-micro's http transport is spoken, and gRPC to nodes that ask for it; see --broker for NATS"
)

UNSUPPORTED: dict[str, str] = {
    "web_address": _NO_WEB,
    "web_namespace": _NO_WEB,
    "web_cors": "use --sidecar_cors",
    "api_address": "use --address for the sidecar's own HTTP API",
    "api_handler": _NO_API,
    "api_namespace": _NO_API,
    "api_cors": "use --sidecar_cors",
    "enable_acme": _NO_ACME,
    "acme_hosts": _NO_ACME,
    "client": _BY_NODE,
    "server": _BY_NODE,
    "transport": _NO_TRANSPORT,
    "transport_address": _NO_TRANSPORT,
    "runtime": "start services with systemd or a container runtime; the sidecar starts none",
    "profile": "choose the engines by --registry and --broker; to profile under twistd use twistd --profile",
    "debug_profile": "use twistd --profile",
    "store": "the sidecar keeps no store",
    "store_address": "the sidecar keeps no store",
    "store_database": "the sidecar keeps no store",
    "store_table": "the sidecar keeps no store",
    "tracer": "the sidecar traces nothing; request headers go along with each call",
    "tracer_address": "the sidecar traces nothing; request headers go along with each call",
    "auth": "use --tls_client_ca_file to admit callers by certificate",
    "auth_id": "use --tls_client_ca_file to admit callers by certificate",
    "auth_secret": "use --tls_client_ca_file to admit callers by certificate",
    "auth_namespace": "use --tls_client_ca_file to admit callers by certificate",
    "auth_public_key": "use --tls_client_ca_file to admit callers by certificate",
    "auth_private_key": "use --tls_client_ca_file to admit callers by certificate",
}

Works = Callable[[Source, Settings], bool]


@frozen
class Need:
    """What some flags need.

    :ivar flags: their names. :ivar met: whether they do something.
    :ivar lacks: what they need, or why they do nothing, as the end of a sentence. ``{registry}`` and ``{broker}`` are
        the engines in it.
    :ivar refused: to type one of them without it is an error, not only odd.
    """

    flags: tuple[str, ...]
    met: Works
    lacks: str
    refused: bool = True


#: What each of our engines takes of the flags that say how to reach one, by what follows ``registry_`` or ``broker_``.
#: Engines of others are not here: they may take any.
_TLS: Final = ("tls", "ca_file", "cert_file", "key_file")
_TAKES: Final[dict[str, tuple[str, ...]]] = {
    "memory": (),
    "mdns": (),
    "consul": ("address", "token", *_TLS),
    "etcd": ("address", "username", "password", *_TLS),
    "nats": ("address", "username", "password", "token", "credentials", *_TLS),
    "rabbitmq": ("address", "username", "password", *_TLS),
    "redis": ("address", "username", "password", *_TLS),
    "http": ("address", "ca_file", "cert_file", "key_file"),
}
_REACHING: Final = ("address", "username", "password", "token", "credentials", *_TLS)


def _has_app(given: Source, settings: Settings) -> bool:
    return bool(given.text("server_name").strip()) and given["server_address"] is not None


def _translates(given: Source, settings: Settings) -> bool:
    return not _has_app(given, settings) or given["server_protocol"] == "http"


def _translates_for_any(given: Source, settings: Settings) -> bool:
    """Apps of the file take these of the flag, where they say nothing."""
    return any(app.protocol == "http" for app in settings.apps)


def _takes(what: str, name: str) -> Works:
    """:param what: ``registry`` or ``broker``. :param name: what of it."""

    def met(given: Source, settings: Settings) -> bool:
        engines = settings.registry.engines if what == "registry" else (settings.broker.engine,)
        return any(name in _TAKES.get(engine.kind, _REACHING) for engine in engines)

    return met


def _engine(what: str) -> Iterator[Need]:
    for name in _REACHING:
        names = [f"{what}_{name}", f"{what}_{name}_file"] if name in ("password", "token") else [f"{what}_{name}"]
        yield Need(tuple(names), _takes(what, name), f"--{what}={{{what}}} takes none", name == "address")


def _retries(given: Source, settings: Settings) -> bool:
    return given["client_retries"] > 0 and given["client_retry"] != "never"


def _renews(given: Source, settings: Settings) -> bool:
    return not _has_app(given, settings) or settings.apps[0].ttl is not None


_APP: Final = "it is for the app of --server_name and --server_address; give those too"
_HTTP: Final = "it is for the port that --server_protocol=http opens"
_STOCK: Final = "--http_channel=stock has limits of its own"

NEEDS: Final[tuple[Need, ...]] = (
    Need(
        (
            "server_advertise",
            "server_id",
            "server_version",
            "server_metadata",
            "server_protocol",
            "server_inbound",
            "server_tls_cert_file",
            "server_tls_key_file",
            "server_tls_client_ca_file",
        ),
        _has_app,
        _APP,
    ),
    Need(("server_inbound",), _translates, _HTTP),
    Need(("server_max_body", "server_max_header"), _translates_for_any, _HTTP),
    Need(("register_ttl", "register_interval"), _has_app, _APP, refused=False),
    Need(("register_interval",), _renews, "the registration never expires (--register_ttl)", refused=False),
    Need(
        ("healthcheck_interval", "healthcheck_timeout", "healthcheck_rise", "healthcheck_fall"),
        lambda given, settings: bool(given.text("healthcheck_url")),
        "it is for the check of --healthcheck_url",
        refused=False,
    ),
    Need(
        ("tls_cert_file", "tls_key_file"),
        lambda given, settings: settings.tls.enabled,
        "--enable_tls=false serves in the clear",
        refused=False,
    ),
    Need(
        ("tls_client_ca_file",),
        lambda given, settings: settings.tls.enabled,
        "--enable_tls=false serves in the clear, and whoever calls shows no certificate",
    ),
    Need(
        ("rpc_tls_ca_file", "rpc_tls_cert_file", "rpc_tls_key_file"),
        lambda given, settings: given["rpc_tls"] != "off",
        "--rpc_tls=off calls every node in the clear",
        refused=False,
    ),
    Need(
        ("client_retry",),
        lambda given, settings: given["client_retries"] > 0,
        "--client_retries=0 tries nothing again",
        refused=False,
    ),
    Need(
        ("client_retries",),
        lambda given, settings: not given["client_retries"] or given["client_retry"] != "never",
        "--client_retry=never tries nothing again",
        refused=False,
    ),
    Need(("retry_budget",), _retries, "--client_retries and --client_retry try nothing again", refused=False),
    Need(
        ("client_pool_ttl",),
        lambda given, settings: given["client_pool_ttl"] <= settings.client.pool_ttl,
        "1m is the most that counts",
        refused=False,
    ),
    Need(
        ("eject_max_time",),
        lambda given, settings: given["eject_max_time"] >= given["eject_time"],
        "it is shorter than --eject_time, which counts then",
        refused=False,
    ),
    Need(
        ("journal_age",),
        lambda given, settings: given["journal_entries"] > 0,
        "--journal_entries=0 holds nothing",
        refused=False,
    ),
    *_engine("registry"),
    Need(
        ("mdns_interface",),
        lambda given, settings: "mdns" in given["registry"],
        "it is for --registry=mdns",
    ),
    *_engine("broker"),
    Need(
        ("broker_events_create",),
        lambda given, settings: given["broker"].strip() == "nats",
        "events are JetStream's, of --broker=nats",
    ),
    Need(
        ("max_header", "max_connections", "header_timeout", "body_timeout", "queue_timeout"),
        lambda given, settings: given["http_channel"] != "stock",
        _STOCK,
        refused=False,
    ),
)


def ineffective(given: Source, settings: Settings) -> tuple[str, ...]:
    """:returns: a sentence for each flag that does nothing and stops nothing.
    :raises UsageError: one was typed that does nothing where it should."""
    found: dict[str, str] = {}
    engines = {"registry": ",".join(given["registry"]), "broker": given["broker"]}
    for need in NEEDS:
        said = [name for name in need.flags if given.is_given(name) and name not in found and _says(given, name)]
        if not said or need.met(given, settings):
            continue
        for name in said:
            sentence = f"--{name} does nothing: {need.lacks.format(**engines)}"
            if need.refused and given.precedences[name] == FLAG:
                raise UsageError(sentence)
            found[name] = sentence
    if given.is_given("proxy_address") and given.precedences["proxy_address"] == FLAG:
        found["proxy_address"] = "--proxy_address does nothing here: the client commands of micro read it"
    return tuple(found.values())


def _says(given: Source, name: str) -> bool:
    """Whether it has a value, and a switch is on."""
    value = given[name]
    return bool(value) if BY_NAME[name].switch else value not in (None, (), "")
