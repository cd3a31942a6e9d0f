"""What is wrong with a TLS peer's certificate, or with the TLS between us, in words for who mends it. Pure."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from cryptography import x509

#: Names of a certificate that are told.
_TOLD: Final = 5


def covers(certificate: x509.Certificate, name: str) -> bool:
    """Whether ``certificate`` is for a peer called ``name``: a DNS name or an IP literal without brackets. Its common
    name does not count (RFC 9525, 2)."""
    dns, addresses = _alternatives(certificate)
    try:
        return ipaddress.ip_address(name) in addresses
    except ValueError:
        return any(covers_name(given, name.rstrip(".")) for given in dns)


def covers_name(given: str, name: str) -> bool:
    """Whether a name in a certificate, which may begin with ``*.``, is this one (RFC 9525, 6.3)."""
    given, name = given.lower(), name.lower()
    wild = given.startswith("*.") and "." in given[2:]
    return given == name or (wild and name.partition(".")[2] == given[2:])


def wrong_name(certificate: x509.Certificate, name: str) -> str:
    """In words, that ``certificate`` is for others than ``name``."""
    dns, addresses = _alternatives(certificate)
    names = [*dns, *map(str, addresses)]
    if not names:
        return f"its certificate has no name of a server in it (subjectAltName), so it is not for {name}"
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return (
        f"its certificate is for {', '.join(names[:_TOLD])}{more}, not for {name}; a node says by its metadata tls_name"
        " which name to look for"
    )


def untrusted(code: int, certificate: x509.Certificate, depth: int = 0) -> str:
    """In words, why OpenSSL does not take ``certificate``, which the peer showed.

    :param code: X509_V_ERR_... :param depth: its place in the chain, 0 for the peer's own. :source: openssl/x509_vfy.h
    """
    issuer = certificate.issuer.rfc4514_string()
    it = f"the certificate of {certificate.subject.rfc4514_string()} in its chain" if depth else "its certificate"
    if code in (2, 18, 19, 20, 21):
        signer = "itself" if code == 18 else issuer
        return f"{it} is signed by {signer}, and we do not trust that; name whom to trust by --rpc_tls_ca_file"
    faults = {
        7: "has a wrong signature",
        9: f"is good only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on",
        10: f"expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
        23: "is revoked",
        24: f"is signed by {issuer}, which is no authority",
        26: "is not made for servers (its extended key usage says so)",
        66: "has a key that is too small",
        68: "is signed with a digest that is too weak",
    }
    return f"{it} {faults.get(code, f'is not good (error {code} of OpenSSL)')}"


#: What OpenSSL says, by a part of it, and what that means; the first that is found counts.
_SAID: Final = (
    ("certificate required", "it asks for a certificate of ours: name one by --rpc_tls_cert_file"),
    ("no application protocol", "it does not speak this protocol over TLS (ALPN)"),
    ("certificate", "it does not take our certificate (--rpc_tls_cert_file)"),
    ("unknown ca", "it does not trust who signed our certificate (--rpc_tls_cert_file)"),
    ("protocol version", "it speaks no TLS of version 1.2 or newer"),
    ("unsupported protocol", "it speaks no TLS of version 1.2 or newer"),
    ("wrong version number", "it does not speak TLS"),
    ("packet length", "it does not speak TLS"),
    ("record layer failure", "it does not speak TLS"),
    ("http request", "it does not speak TLS"),
    ("handshake failure", "it does not agree to TLS with us"),
)


def said(error: BaseException) -> str:
    """In words, what a handshake failed with. :param error: OpenSSL's."""
    text = _reasons(error)
    for part, meaning in _SAID:
        if part in text:
            return f"{meaning}: {text}"
    return f"no TLS connection came about: {text or type(error).__name__}"


def is_alert_of_certificate(error: BaseException) -> bool:
    """Whether the peer says that it does not take our certificate, or that it wants one."""
    text = _reasons(error)
    return "alert" in text and ("certificate" in text or "unknown ca" in text or "access denied" in text)


def _reasons(error: BaseException) -> str:
    found: Any = error.args[0] if error.args else ""
    return ", ".join(str(each[-1]) for each in found) if isinstance(found, list) else str(found)


def _alternatives(certificate: x509.Certificate) -> tuple[list[str], list[Any]]:
    """The DNS names and the addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return [], []
    return names.get_values_for_type(x509.DNSName), names.get_values_for_type(x509.IPAddress)
