"""TLS of our ports and towards nodes, from PEM files, checked before anything else happens."""

from __future__ import annotations

from collections.abc import Sequence
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
from sidecar.net.client.credentials import ClientCredentials
from sidecar.rpc.dialects.nodetls import NodeTlsSettings


@implementer(ICertificates)
class Certificates:
    """Makes the server's side of each TLS connection with the certificate that the files held when last read.

    Connections keep the context that they began with, so a change disturbs none of them.
    """

    def __init__(
        self, settings: TlsSettings, flags: str = "--tls_", protocols: Sequence[bytes] = (b"http/1.1",)
    ) -> None:
        """:param flags: how the names of the flags begin that name the files.
        :param protocols: what is spoken over it, as ALPN names it, the best first.
        :raises ConfigError: a file cannot be read or used; the sentence names its flag."""
        self._flags = flags
        self._protocols = protocols
        self._context = self.read(settings)

    def read(self, settings: TlsSettings) -> SSL.Context:
        return _context(settings, self._flags, self._protocols)

    def use(self, read: SSL.Context) -> None:
        self._context = read

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


def credentials(settings: NodeTlsSettings) -> ClientCredentials:
    """What nodes are called with, by the files as they are now.

    :raises ConfigError: a file cannot be read or used; the sentence names its flag."""
    trust = _trust("--rpc_tls_ca_file", settings.ca_file) if settings.ca_file else None
    if not settings.cert_file:
        return ClientCredentials(trust)
    key, chain = _pair("--rpc_tls_", settings.cert_file, settings.key_file)
    return _usable("--rpc_tls_cert_file", settings.cert_file, lambda: ClientCredentials(trust, key, tuple(chain)))


def _context(settings: TlsSettings, flags: str, protocols: Sequence[bytes]) -> SSL.Context:
    key, (own, *extra) = _pair(flags, settings.cert_file, settings.key_file)
    trust = _trust(f"{flags}client_ca_file", settings.client_ca_file) if settings.client_ca_file else None
    options = CertificateOptions(
        privateKey=key,
        certificate=own,
        extraCertChain=extra,
        raiseMinimumTo=TLSVersion.TLSv1_2,
        trustRoot=trust,
        acceptableProtocols=list(protocols),
    )
    context: SSL.Context = _usable(f"{flags}cert_file", settings.cert_file, options.getContext)
    return context


def _usable(flag: str, path: str, make: Any) -> Any:
    try:
        return make()
    except SSL.Error as error:
        raise ConfigError(f"{flag}={path}: OpenSSL refuses it: {error}") from error


def _pair(flags: str, cert_file: str, key_file: str) -> tuple[Any, list[Any]]:
    """A key and its chain, our own certificate first. :raises ConfigError: they do not belong together, or are old."""
    chain = _chain(f"{flags}cert_file", cert_file)
    key = _key(f"{flags}key_file", key_file)
    if _public(key.public_key()) != _public(chain[0].public_key()):
        raise ConfigError(
            f"{flags}key_file={key_file}: it is not the key of the first certificate in {cert_file};"
            " give the key that the certificate was made with"
        )
    ends = chain[0].not_valid_after_utc
    if ends < datetime.now(timezone.utc):
        raise ConfigError(f"{flags}cert_file={cert_file}: it expired on {ends:%Y-%m-%d %H:%M} UTC; renew it")
    return crypto.PKey.from_cryptography_key(key), [crypto.X509.from_cryptography(each) for each in chain]


def _trust(flag: str, path: str) -> Any:
    return trustRootFromCertificates(
        [Certificate(crypto.X509.from_cryptography(authority)) for authority in _chain(flag, path)]
    )


def _chain(flag: str, path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(flag, path))
    except ValueError as error:
        raise ConfigError(f"{flag}={path}: there is no PEM certificate in it ({error})") from error


def _key(flag: str, path: str) -> Any:
    try:
        key = load_pem_private_key(_read(flag, path), password=None)
        crypto.PKey.from_cryptography_key(key)  # type: ignore[arg-type]  # refuses other kinds by TypeError
    except TypeError as error:
        raise ConfigError(f"{flag}={path}: the key is encrypted, or of a kind that TLS cannot use") from error
    except ValueError as error:
        raise ConfigError(f"{flag}={path}: there is no PEM private key in it") from error
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
