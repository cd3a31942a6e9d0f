"""The reactor under a test, with names of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address


class NamedReactor:
    """Everything but names is the reactor's.

    :ivar found: the addresses of every name, None while nobody answers.
    """

    def __init__(self, found: Sequence[str] | None) -> None:
        self.found = found
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def resolveHostName(self, receiver: Any, host: str, port: int, *more: object) -> NamedReactor:
        receiver.resolutionBegan(self)
        if self.found is not None:
            for address in self.found:
                receiver.addressResolved((IPv6Address if ":" in address else IPv4Address)("TCP", address, port))
            receiver.resolutionComplete()
        return self

    def cancel(self) -> None:
        """It is not asked for any more."""
