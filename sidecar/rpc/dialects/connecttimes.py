"""How long a connection to an address may take, by what the address has shown. Pure."""

from __future__ import annotations

from typing import Final

from attrs import define, field

#: The least that is waited, in seconds, and how many times the slowest connection known. An app whose queue of new
#: connections is full for a moment (five, in Python's ``http.server``) drops the first packet; the kernel sends another
#: after a second, and that one counts.
LEAST: Final = 1.2
TIMES: Final = 20.0
#: What a slow connection counts for after each quicker one.
_FADING: Final = 0.9
#: Addresses that are remembered; of the others nothing is known.
_MOST: Final = 16_384


@define(eq=False)
class ConnectTimes:
    """Remembers the slowest of the last connections to each address.

    An address that always connected in a millisecond is given up after little more than a second: it is gone, and
    another can be tried. One that is slow now and then, or was given up too soon, is waited for.

    :ivar most: seconds to wait where nothing is known, and at most.
    """

    most: float
    _slowest: dict[tuple[str, int], float] = field(factory=dict, init=False)

    def connected(self, address: tuple[str, int], seconds: float) -> None:
        """A connection was made. :param seconds: that it took."""
        before = self._slowest.pop(address, 0.0)
        if len(self._slowest) >= _MOST:
            del self._slowest[next(iter(self._slowest))]
        self._slowest[address] = max(seconds, before * _FADING)

    def given_up(self, address: tuple[str, int]) -> None:
        """None was made in time: wait twice as long for the next one."""
        if address in self._slowest:
            self._slowest[address] = 2 * self.timeout(address) / TIMES

    def timeout(self, address: tuple[str, int]) -> float:
        """:returns: seconds to wait for the next connection."""
        slowest = self._slowest.get(address)
        if slowest is None:
            return self.most
        return min(self.most, max(LEAST, TIMES * slowest))
