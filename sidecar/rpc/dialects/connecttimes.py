"""How long a connection to an address may take until another address is better, by what the address has shown. Pure."""

from __future__ import annotations

from typing import Final

from attrs import define, field

#: Seconds that are waited at least, and how many times the slowest connection known.
LEAST: Final = 0.25
TIMES: Final = 8.0
#: Calls that leave an address before it gets more time: as many as make it lose its calls (``--eject_failures``).
FEW: Final = 3
#: What a slow connection counts for after each quicker one.
_FADING: Final = 0.9
#: Addresses that are remembered; of the others nothing is known.
_MOST: Final = 16_384


@define(eq=False)
class ConnectTimes:
    """Remembers the slowest of the last connections to each address, and how long one was waited for in vain since.

    A call leaves an address that always connected in a millisecond after a few hundred, if it has somewhere else to go:
    nothing was sent yet. Where it has not, the connection may take all the time there is: an app whose queue of new
    connections is full for a moment (five, in Python's ``http.server``) drops the first packet, and the kernel sends
    another after a second.

    :ivar most: seconds that connecting may take.
    """

    most: float
    _slowest: dict[tuple[str, int], float] = field(factory=dict, init=False)
    _left: dict[tuple[str, int], int] = field(factory=dict, init=False)
    _raised: dict[tuple[str, int], float] = field(factory=dict, init=False)

    def connected(self, address: tuple[str, int], seconds: float) -> None:
        """A connection was made. :param seconds: that it took."""
        before = self._slowest.pop(address, 0.0)
        if len(self._slowest) >= _MOST:
            oldest = next(iter(self._slowest))
            del self._slowest[oldest]
            self._forget_waits(oldest)
        self._slowest[address] = max(seconds, before * _FADING)
        self._forget_waits(address)

    def waited(self, address: tuple[str, int], seconds: float) -> None:
        """None was made in ``seconds``, and nobody waits for it any more. After a few of those the address gets twice
        as long: it may have become slow for good."""
        patience = self.patience(address)
        if patience is not None and seconds >= patience:
            left = self._left.get(address, 0) + 1
            self._left[address] = left % FEW
            if left == FEW:
                self._raised[address] = 2 * seconds

    def patience(self, address: tuple[str, int]) -> float | None:
        """:returns: seconds after which a call that can go elsewhere should; None where nothing is known, or where that
        is as long as connecting may take."""
        slowest = self._slowest.get(address)
        if slowest is None:
            return None
        found = max(LEAST, TIMES * slowest, self._raised.get(address, 0.0))
        return found if found < self.most else None

    def _forget_waits(self, address: tuple[str, int]) -> None:
        self._left.pop(address, None)
        self._raised.pop(address, None)
