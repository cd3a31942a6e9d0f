"""Messages that have begun to come and not ended, of all WebSockets together: how much they may take. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from attrs import define, field

P = TypeVar("P", bound=Hashable)


@define(eq=False)
class IncompleteMessages(Generic[P]):
    """The bytes that wait for the rest of their message, by peer, the one that has waited longest first.

    :ivar limit: bytes of all together. :ivar total: bytes now.
    """

    limit: int
    total: int = 0
    _sizes: dict[P, int] = field(factory=dict)

    def changed(self, peer: P, size: int) -> list[P]:
        """Note what waits of ``peer`` now.

        :param size: bytes, 0 for none.
        :returns: those that have to go, so that the rest fits: who began longest ago goes first. They are forgotten.
        """
        self.total += size - self._sizes.get(peer, 0)
        if size:
            self._sizes[peer] = size
        else:
            self._sizes.pop(peer, None)
        gone: list[P] = []
        while self.total > self.limit:
            oldest = next(iter(self._sizes))
            self.total -= self._sizes.pop(oldest)
            gone.append(oldest)
        return gone
