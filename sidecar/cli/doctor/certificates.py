"""Whether certificates can be read, belong to their keys, and are good today and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from sidecar.cli.doctor.backends import expiry
from sidecar.cli.doctor.diagnosis import Diagnosis, fault, ok


def examine(what: str, cert_file: str, key_file: str = "") -> Iterator[Diagnosis]:
    """:param what: whose certificate, in a word or two. :param cert_file: PEM. :param key_file: "" for none."""
    subject = f"{what} {cert_file}"
    try:
        chain = x509.load_pem_x509_certificates(Path(cert_file).read_bytes())
    except OSError as error:
        yield fault(subject, f"cannot be read: {error.strerror}", "give a file that the sidecar's user may read")
        return
    except ValueError:
        yield fault(subject, "holds no certificate in PEM", "give a file with -----BEGIN CERTIFICATE----- lines")
        return
    for place, each in enumerate(chain):
        name = each.subject.rfc4514_string() or "a certificate without a subject"
        whose = subject if len(chain) == 1 else f"{subject}, {place + 1} of {len(chain)} ({name})"
        yield expiry(whose, (each.not_valid_after_utc - datetime.now(timezone.utc)).total_seconds() / 86400)
        if each.not_valid_before_utc > datetime.now(timezone.utc):
            told = f"is good only from {each.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
            yield fault(whose, told, "wait, or set this machine's clock", "timedatectl")
    if key_file:
        yield from _chain(subject, chain)
        yield _key(subject, chain[0], key_file)


def _chain(subject: str, chain: list[x509.Certificate]) -> Iterator[Diagnosis]:
    """Each certificate is to be issued by the next one."""
    for own, issuer in pairwise(chain):
        if own.issuer != issuer.subject:
            told = f"{own.subject.rfc4514_string()} is not issued by the certificate after it"
            yield fault(subject, told, "put the server's own certificate first, then each issuer in turn")


def _key(subject: str, own: x509.Certificate, key_file: str) -> Diagnosis:
    try:
        key = load_pem_private_key(Path(key_file).read_bytes(), None)
    except OSError as error:
        return fault(f"key {key_file}", f"cannot be read: {error.strerror}", "let the sidecar's user read it")
    except (ValueError, TypeError):
        return fault(f"key {key_file}", "is no private key in PEM without a passphrase", "decrypt it, or name another")
    forms = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*forms) != own.public_key().public_bytes(*forms):
        return fault(subject, f"does not belong to the key {key_file}", "name the certificate and key of one pair")
    return ok(subject, f"belongs to the key {key_file}")
