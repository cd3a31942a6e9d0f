"""What TLS connections to peers begin with: whom we trust, and what we show of ourselves."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from OpenSSL import SSL
from twisted.internet.ssl import CertificateOptions, TLSVersion, platformTrust


@frozen
class ClientCredentials:
    """Whom we trust, and what we show of ourselves, on connections that begin from now on.

    :ivar trust: a trust root of Twisted's, None for the system's authorities.
    :ivar key: our private key, of pyOpenSSL's kinds, None for none. :ivar chain: our certificates, our own first.
    """

    trust: Any = None
    key: Any = None
    chain: tuple[Any, ...] = ()
    context: SSL.Context = field(init=False, eq=False, repr=False)

    @context.default
    def _make(self) -> SSL.Context:
        own: dict[str, Any] = {}
        if self.chain:
            own = {"privateKey": self.key, "certificate": self.chain[0], "extraCertChain": list(self.chain[1:])}
        trust = self.trust or platformTrust()
        return CertificateOptions(trustRoot=trust, raiseMinimumTo=TLSVersion.TLSv1_2, **own).getContext()
