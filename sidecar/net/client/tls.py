"""TLS towards servers: whom to trust, what to show. Servers of ours keep theirs in the daemon's certificates."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

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
        return optionsForClientTLS(
            hostname.decode("ascii"),
            trustRoot=self._root,
            clientCertificate=self._own,
            extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2},
        )


_END = b"-----END CERTIFICATE-----"


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise InvalidSetting(f"{path}: {error.strerror or error}") from None
