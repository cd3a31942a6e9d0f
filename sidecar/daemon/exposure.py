"""Which of our ports others than this machine reach, and whether the API may be served there."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from typing import Any

from sidecar.daemon import listening
from sidecar.daemon.cmdline.settings import Settings, TcpPort
from sidecar.daemon.systemd import activation
from sidecar.errors import ConfigError, UnsafeSetting


def open_port(settings: Settings, reactor: Any) -> listening.BoundPort:
    """:returns: the API's port, bound. :raises ConfigError: it cannot be had, or should not be."""
    given = activation.api_socket(os.environ)
    if given is None:
        check(settings)
    certificates: listening.ICertificates | None = None
    if settings.tls.enabled:
        # Imported here: OpenSSL costs a tenth of a second that nobody without TLS should pay.
        from sidecar.daemon.certificates import Certificates

        certificates = Certificates(settings.tls)
    listener = listening.bind(settings.listen, certificates, reactor, given)
    try:
        check(settings, listener.host)
        listener.restrict(settings.access.socket_mode, settings.access.socket_group)
    except ConfigError:
        listener.close()
        raise
    return listener


def is_public(host: str) -> bool:
    """Whether another machine may reach a port on ``host``. :param host: an IP literal, a name, or "" for every
    interface; a name counts as loopback only where it is ``localhost``."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host.lower().rstrip(".") not in ("localhost", "localhost.localdomain", "ip6-localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return not (mapped or address).is_loopback


def check(settings: Settings, bound: str | None = None) -> None:
    """See that not everybody in the network may do everything.

    :param bound: the IP literal that the API's port is bound to, "" where it is no TCP port; None before it is bound,
        when the settings tell it as far as they do.
    :raises UnsafeSetting: the API's port is public and nothing tells callers apart.
    """
    where = settings.listen.where
    if bound is None and isinstance(where, TcpPort) and (not where.host or _is_literal(where.host)):
        bound = where.host or "::"
    if not bound or not is_public(bound) or _guarded(settings) or settings.access.insecure_listen:
        return
    raise UnsafeSetting(
        f"the API would be open to everybody who reaches {_shown(bound)}: give callers tokens (--auth_tokens=FILE),"
        " ask them for certificates (--tls_client_ca_file=FILE with --enable_tls), or say --insecure_listen where the"
        " network around is trusted; or listen on 127.0.0.1 or a Unix socket"
    )


def warnings(settings: Settings, bound: str) -> Iterator[str]:
    """:param bound: as in :func:`check`. :returns: a sentence for each port that is open to the network."""
    if bound and is_public(bound) and not _guarded(settings):
        yield (
            f"--insecure_listen: whoever reaches {_shown(bound)} may register, call and publish; --auth_tokens or"
            " --tls_client_ca_file would tell callers apart"
        )
    for app in settings.apps:
        if app.protocol == "http" and is_public(app.inbound.host):
            yield (
                f"the inbound port of {app.name} is open to the network ({app.inbound.host or 'every interface'}), as"
                " go-micro's peers need it: let only their network reach it"
            )
    host = settings.broker.engine.listen.rpartition(":")[0]
    if settings.broker.engine.kind == "http" and settings.broker.engine.listen and is_public(host):
        yield (
            f"the port of the HTTP broker is open to the network ({host or 'every interface'}), as go-micro's peers"
            " need it: let only their network reach it"
        )


def _guarded(settings: Settings) -> bool:
    return bool(settings.access.tokens or (settings.tls.enabled and settings.tls.client_ca_file))


def _shown(bound: str) -> str:
    return "every interface of this machine" if bound in ("::", "0.0.0.0") else bound  # noqa: S104  # not bound


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
