"""TLS towards servers: whom to trust, what to show. Servers of ours keep theirs in the daemon's certificates."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from cryptography.x509 import DNSName, ExtensionNotFound, SubjectAlternativeName
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from sidecar.net.client.connector import is_address
from sidecar.net.client.peercertificate import covers_name
from sidecar.net.errors import InvalidSetting


@frozen
class TrustOptions:
    """Whom we trust as a client and as whom we come.

    :ivar ca_file: PEM certificates to trust, "" for those of the system.
    :ivar cert_file: our own certificate in PEM, "" for none. :ivar key_file: its key, "" where it is in the same file.
    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@implementer(IPolicyForHTTPS)
class TrustPolicy:
    """Makes each connection check the server's name against the trusted certificates, with TLS 1.2 at least."""

    def __init__(self, trust: TrustOptions) -> None:
        """:raises InvalidSetting: naming the file that cannot be used."""
        self._root = None
        self._own = None
        if trust.ca_file:
            pem = _read(trust.ca_file)
            blocks = [block + _END for block in pem.split(_END)[:-1]]
            try:
                self._root = trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks])
            except Exception as error:
                raise InvalidSetting(f"{trust.ca_file}: not certificates in PEM: {_words(error)}") from None
            if not blocks:
                raise InvalidSetting(f"{trust.ca_file}: holds no certificate in PEM")
        if trust.cert_file:
            pem = _read(trust.cert_file) + (b"\n" + _read(trust.key_file) if trust.key_file else b"")
            try:
                self._own = PrivateCertificate.loadPEM(pem)
            except Exception as error:
                files = " and ".join(name for name in (trust.cert_file, trust.key_file) if name)
                raise InvalidSetting(f"{files}: not a certificate and its key in PEM: {_words(error)}") from None

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        name = hostname.decode("ascii")
        if _is_odd(name):
            own: Any = self._own
            key = {} if own is None else {"privateKey": own.privateKey.original, "certificate": own.original}
            trust = platformTrust() if self._root is None else self._root
            return _OddName(name, CertificateOptions(trustRoot=trust, raiseMinimumTo=TLSVersion.TLSv1_2, **key))
        return optionsForClientTLS(
            name,
            trustRoot=self._root,
            clientCertificate=self._own,
            extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2},
        )


def _is_odd(name: str) -> bool:
    """Whether it is no name that the Internet's rules allow, but one that a machine may have, such as ``my_app``."""
    return not is_address(name) and (
        "_" in name or any(label[:1] == "-" or label[-1:] == "-" for label in name.split("."))
    )


@implementer(IOpenSSLClientConnectionCreator)
class _OddName:
    """Checks the server's certificate for a name that Twisted's own check cannot spell."""

    def __init__(self, name: str, options: CertificateOptions) -> None:
        self._name = name
        self._context = options.getContext()

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_tlsext_host_name(self._name.encode("ascii"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return connection

    def _verify(self, connection: SSL.Connection, certificate: Any, error: int, depth: int, well: int) -> bool:
        if not well or depth:
            return bool(well)
        try:
            names = certificate.to_cryptography().extensions.get_extension_for_class(SubjectAlternativeName).value
        except ExtensionNotFound:
            return False
        return any(covers_name(given, self._name) for given in names.get_values_for_type(DNSName))


_END = b"-----END CERTIFICATE-----"


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise InvalidSetting(f"{path}: {error.strerror or error}") from None
