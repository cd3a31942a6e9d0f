"""TLS of the client commands that run on Twisted: the same flags that ``api`` gives to the standard library."""

from __future__ import annotations

import ipaddress
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from sidecar.cli.api import Failed, Trust


def client_tls(host: str, trust: Trust) -> IOpenSSLClientConnectionCreator:
    """:param host: whose certificate it has to be. :raises Failed: a file is no good."""
    try:
        own = None
        if trust.cert_file:
            pem = _read(trust.cert_file) + b"\n" + _read(trust.key_file or trust.cert_file)
            own = ssl.PrivateCertificate.loadPEM(pem)
        if trust.insecure:
            return _Anybody(host)
        root = None
        if trust.ca_file:
            end = b"-----END CERTIFICATE-----"
            blocks = _read(trust.ca_file).split(end)[:-1]
            root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(block + end + b"\n") for block in blocks])
    except (OSError, SSL.Error, crypto.Error) as error:
        raise Failed(f"the certificates cannot be used: {error}") from error
    creator: IOpenSSLClientConnectionCreator = ssl.optionsForClientTLS(host, trustRoot=root, clientCertificate=own)
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


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
