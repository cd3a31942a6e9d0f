"""TLS of the client commands that run on Twisted: the same flags that ``api`` gives to the standard library."""

from __future__ import annotations

import ipaddress
from typing import Any

from OpenSSL import SSL
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from sidecar.cli.api import Failed, Trust
from sidecar.net.client.tls import TrustOptions, TrustPolicy
from sidecar.net.errors import InvalidSetting


def client_tls(host: str, trust: Trust) -> IOpenSSLClientConnectionCreator:
    """:param host: whose certificate it has to be. :raises Failed: a file is no good."""
    try:
        policy = TrustPolicy(TrustOptions(trust.ca_file, trust.cert_file, trust.key_file))
    except InvalidSetting as error:
        raise Failed(f"the certificates cannot be used: {error}") from error
    if trust.insecure:
        return _Anybody(host)
    creator: IOpenSSLClientConnectionCreator = policy.creatorForNetloc(host.encode("ascii", "replace"), 0)
    return creator


@implementer(IOpenSSLClientConnectionCreator)
class _Anybody:
    """Trusts whoever answers, as ``--insecure`` asks."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._context = ssl.CertificateOptions(raiseMinimumTo=ssl.TLSVersion.TLSv1_2).getContext()

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        try:
            ipaddress.ip_address(self._host)
        except ValueError:
            connection.set_tlsext_host_name(self._host.encode("idna"))
        return connection
