"""Both ends of TLS for a test that has no files of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import ssl

from sidecar.test.doubles.certificates import authority


def tls_ends() -> tuple[Any, Any]:
    """:returns: what a server of ``localhost`` needs, and what a client needs that trusts it."""
    with tempfile.TemporaryDirectory() as home:
        signer = authority(Path(home))
        chain, key = signer.issue("server")
        server = ssl.PrivateCertificate.loadPEM(Path(key).read_bytes() + Path(chain).read_bytes())
        trusted = ssl.Certificate.loadPEM(Path(signer.ca_file).read_bytes())
    return server.options(), ssl.optionsForClientTLS("localhost", trusted)
