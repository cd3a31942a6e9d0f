"""Connects to a host, whatever it is: an address at once, a name at the first of its addresses that answers."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, Final

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import HostnameAddress
from twisted.internet.error import ConnectionRefusedError, DNSLookupError, TimeoutError, UserError
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall, IHostResolution, IResolutionReceiver
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from sidecar.net.client.addressrules import AddressRules
from sidecar.net.client.resolver import CachingResolver
from sidecar.net.errors import AddressRefused
from sidecar.net.reactor import eager

#: Seconds after which the next address is tried beside one that says nothing (RFC 8305, 5).
_NEXT: Final = 0.25


def is_address(host: str) -> bool:
    """Whether it is an IPv4 or IPv6 address (without brackets), and not a name."""
    return isIPAddress(host) or isIPv6Address(host)


def connect(
    reactor: Any,
    host: str,
    port: int,
    factory: ClientFactory[Any],
    timeout: float,
    rules: AddressRules | None = None,
) -> IConnector:
    """Connect, with eager writes where the reactor can.

    :param host: a name, or an address without brackets. :param timeout: seconds for looking up and connecting together.
    :param rules: judge the address, of a name each of those that it has now; None where the operator named the host.
    """
    if is_address(host) and (rules is None or rules.refusal(host) is None):
        return eager.connect(reactor, host, port, factory, timeout)
    connector = NameConnector(reactor, host, port, factory, timeout, rules)
    connector.connect()
    return connector


@implementer(IConnector, IResolutionReceiver)
class NameConnector:
    """Looks a name up and tries its addresses, both families in turn, each a moment after the one before.

    The first connection is used and the other attempts are given up (happy eyeballs, RFC 8305).
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float,
        rules: AddressRules | None = None,
    ) -> None:
        self._rules = rules
        self._starting = True
        self.host = host
        self.port = port
        self._reactor = reactor
        self._factory = factory
        self._timeout = timeout
        self._deadline = reactor.seconds() + timeout
        self._resolution: IHostResolution | None = None
        self._found: list[Any] = []
        self._attempts: dict[_Attempt, IConnector | None] = {}
        self._connection: IConnector | None = None
        self._error: Exception | None = None
        self._late: IDelayedCall | None = None
        self._following: IDelayedCall | None = None
        self._over = False

    # --- IConnector -------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        self._factory.doStart()
        self._factory.startedConnecting(self)
        self._late = self._reactor.callLater(self._timeout, self._expired)
        refusal = None if self._rules is None else self._rules.refusal(self.host)
        if refusal is not None:
            self._fail(AddressRefused(f"its address {refusal}"))
        else:
            self._reactor.nameResolver.resolveHostName(self, self.host, self.port)
        self._starting = False

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
        else:
            self.stopConnecting()

    def stopConnecting(self) -> None:
        self._fail(UserError())

    def getDestination(self) -> HostnameAddress:
        return HostnameAddress(self.host.encode("utf-8"), self.port)

    # --- IResolutionReceiver ----------------------------------------------------------------------------------------

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        self._found.append(address)

    def resolutionComplete(self) -> None:
        self._resolution = None
        if self._over:
            return
        if not self._found:
            self._fail(DNSLookupError(f"the name {self.host} is not known, or nobody could be asked"))
            return
        if self._rules is not None:
            refusals = {each.host: self._rules.refusal(each.host) for each in self._found}
            self._found = [each for each in self._found if refusals[each.host] is None]
            if not self._found:
                refusal = next(each for each in refusals.values() if each is not None)
                self._fail(AddressRefused(f"the address of {self.host}, {refusal}"))
                return
        self._found = _alternating(self._found)
        self._next()

    # --- Attempts ---------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Try the next address; where there is none left, fail with the last attempt."""
        if self._following is not None and self._following.active():
            self._following.cancel()
        self._following = None
        if self._over:
            return
        if not self._found:
            if not self._attempts:
                self._fail(self._error or TimeoutError())
            return
        address = self._found.pop(0)
        left = self._deadline - self._reactor.seconds()
        if self._found:
            self._following = self._reactor.callLater(min(_NEXT, left / (len(self._found) + 1)), self._next)
        attempt = _Attempt(self, address.host)
        self._attempts[attempt] = None
        connector = eager.connect(self._reactor, address.host, self.port, attempt, max(left, 0.001))
        if attempt in self._attempts:
            self._attempts[attempt] = connector

    def won(self, attempt: _Attempt, addr: IAddress | None) -> Protocol | None:
        """An attempt is connected."""
        if self._over:
            return None
        self._connection = self._attempts.pop(attempt, None)
        self._end()
        resolver = self._reactor.nameResolver
        if isinstance(resolver, CachingResolver):
            resolver.connected(self.host, attempt.host)
        protocol: Protocol | None = self._factory.buildProtocol(addr)
        return protocol

    def failed(self, attempt: _Attempt, error: Exception) -> None:
        """An attempt came to nothing."""
        self._attempts.pop(attempt, None)
        if self._over:
            return
        # That somebody refuses is the best news of several: there is a machine.
        if self._error is None or isinstance(error, ConnectionRefusedError):
            self._error = error
        self._next()

    def lost(self, reason: Failure) -> None:
        """The connection that was made is gone."""
        self._factory.clientConnectionLost(self, reason)
        self._factory.doStop()

    def _expired(self) -> None:
        self._late = None
        if self._resolution is not None:
            self._fail(DNSLookupError(f"the name {self.host} could not be looked up in {self._timeout:g} s"))
        else:
            self._fail(self._error or TimeoutError())

    def _fail(self, error: Exception) -> None:
        if self._over:
            return
        self._end()
        if self._starting:
            # Whoever connects has not got the connector yet that this is about.
            self._reactor.callLater(0, self._tell, error)
        else:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        self._factory.clientConnectionFailed(self, Failure(error))
        self._factory.doStop()

    def _end(self) -> None:
        self._over = True
        for timer in (self._late, self._following):
            if timer is not None and timer.active():
                timer.cancel()
        resolution, self._resolution = self._resolution, None
        if resolution is not None:
            resolution.cancel()
        attempts, self._attempts = self._attempts, {}
        for connector in attempts.values():
            if connector is not None:
                connector.disconnect()


class _Attempt(ClientFactory):
    """One address."""

    noisy = False

    def __init__(self, owner: NameConnector, host: str) -> None:
        self.host = host
        self._owner = owner
        self._won = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        protocol = self._owner.won(self, addr)
        self._won = protocol is not None
        return protocol

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        error = reason.value
        self._owner.failed(self, error if isinstance(error, Exception) else RuntimeError(str(error)))

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        if self._won:
            self._owner.lost(reason)


def _alternating(found: list[Any]) -> list[Any]:
    """The first one first, then the families in turn."""
    first = type(found[0])
    same = [each for each in found if type(each) is first]
    other = [each for each in found if type(each) is not first]
    return [each for pair in zip_longest(same, other) for each in pair if each is not None]
