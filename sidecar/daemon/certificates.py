"""TLS of our own port, from PEM files, checked before anything else happens."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, trustRootFromCertificates
from zope.interface import implementer

from sidecar.daemon.cmdline.settings import TlsSettings
from sidecar.daemon.listening import ICertificates
from sidecar.errors import ConfigError


@implementer(ICertificates)
class Certificates:
    """Makes the server's side of each TLS connection with the certificate that the files held when last read.

    Connections keep the context that they began with, so ``reload`` disturbs none of them.
    """

    def __init__(self, settings: TlsSettings) -> None:
        """:raises ConfigError: a file cannot be read or used; the sentence names its flag."""
        self._context = _context(settings)

    def reload(self, settings: TlsSettings) -> None:
        """Read the files again. :raises ConfigError: they are no good; the old ones stay in use."""
        self._context = _context(settings)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


def _context(settings: TlsSettings) -> SSL.Context:
    chain = _chain("--tls_cert_file", settings.cert_file)
    key = _key(settings.key_file)
    if _public(key.public_key()) != _public(chain[0].public_key()):
        raise ConfigError(
            f"--tls_key_file={settings.key_file}: it is not the key of the first certificate in {settings.cert_file};"
            " give the key that the certificate was made with"
        )
    ends = chain[0].not_valid_after_utc
    if ends < datetime.now(timezone.utc):
        raise ConfigError(f"--tls_cert_file={settings.cert_file}: it expired on {ends:%Y-%m-%d %H:%M} UTC; renew it")
    trust = None
    if settings.client_ca_file:
        authorities = _chain("--tls_client_ca_file", settings.client_ca_file)
        trust = trustRootFromCertificates(
            [Certificate(crypto.X509.from_cryptography(authority)) for authority in authorities]
        )
    own, *extra = (crypto.X509.from_cryptography(certificate) for certificate in chain)
    options = CertificateOptions(
        privateKey=crypto.PKey.from_cryptography_key(key),
        certificate=own,
        extraCertChain=extra,
        raiseMinimumTo=TLSVersion.TLSv1_2,
        trustRoot=trust,
        acceptableProtocols=[b"http/1.1"],
    )
    try:
        context: SSL.Context = options.getContext()
    except SSL.Error as error:
        raise ConfigError(f"--tls_cert_file={settings.cert_file}: OpenSSL refuses it: {error}") from error
    return context


def _chain(flag: str, path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(flag, path))
    except ValueError as error:
        raise ConfigError(f"{flag}={path}: there is no PEM certificate in it ({error})") from error


def _key(path: str) -> Any:
    try:
        key = load_pem_private_key(_read("--tls_key_file", path), password=None)
        crypto.PKey.from_cryptography_key(key)  # type: ignore[arg-type]  # refuses other kinds by TypeError
    except TypeError as error:
        raise ConfigError(f"--tls_key_file={path}: the key is encrypted, or of a kind that TLS cannot use") from error
    except ValueError as error:
        raise ConfigError(f"--tls_key_file={path}: there is no PEM private key in it") from error
    return key


def _public(key: Any) -> bytes:
    """What two keys are compared by."""
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _read(flag: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(4 * 1024 * 1024)
    except OSError as error:
        raise ConfigError(f"{flag}={path}: it cannot be read: {error.strerror}") from error
