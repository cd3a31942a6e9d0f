"""Transports that tell the budget of all how much waits to be sent on them.

A transport keeps whatever its peer does not take. Its producer is asked to pause, which bounds what is still to come;
what was written at once, such as a whole answer, stays until the peer takes it or the connection ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet import tcp
from twisted.internet.unix import Server as UnixSocketServer
from twisted.python.failure import Failure

from sidecar.net.memory import MemoryBudget

if TYPE_CHECKING:
    _Base = tcp.Connection
else:
    _Base = object

#: Bytes of one transport that are not worth telling of: more than half an answer of usual size.
FEW: Final = 4 * 1024


class CountsUnsent(_Base):
    """Mixed in before a ``tcp.Connection``. Nothing is done while the socket takes everything at once.

    :ivar budget: told of what waits, None for nobody. :ivar unsent: bytes that wait.
    """

    budget: MemoryBudget | None = None
    unsent = 0
    _counted = False

    def write(self, data: bytes) -> None:
        """What the socket did not take at once comes here."""
        super().write(data)
        if data and self.connected and not self.disconnected and self.budget is not None:
            self.unsent += len(data)
            self._tell()

    def writeSomeData(self, data: Any) -> Any:
        """Called by Twisted with what waits."""
        if self.disconnected:
            return len(data)  # see _let_go
        sent = super().writeSomeData(data)
        if type(sent) is int:
            self.unsent = max(0, self.unsent - sent)
        return sent

    def doWrite(self) -> Any:
        result = super().doWrite()
        if self._counted:
            self._tell()
        return result

    def connectionLost(self, reason: Failure) -> None:
        if self._counted and self.budget is not None:
            self._counted = False
            self.budget.changed(self, 0, "answers")
        super().connectionLost(reason)
        if self.unsent:
            self._let_go()

    def _let_go(self) -> None:
        """Forget what waits. Else it would stay until the garbage collector finds the protocol and us, who know one
        another; and nothing but sending it empties a buffer of Twisted's."""
        self.unsent = 0
        self.producer = None
        super().doWrite()

    def _tell(self) -> None:
        # What was sent of a buffer is freed with all of it.
        kept = self.unsent + self.offset if self.unsent else 0
        if kept < FEW and not self._counted:
            return
        self._counted = kept >= FEW
        assert self.budget is not None
        if not self.budget.changed(self, kept if self._counted else 0, "answers"):
            self.shed()

    def shed(self) -> None:
        """Called by the budget: the peer takes nothing, so it cannot be told anything either."""
        self._counted = False
        self.abortConnection()


class UnixServer(CountsUnsent, UnixSocketServer):
    """The server's side of a connection over a Unix socket, counted and else as Twisted makes it."""

    def __init__(self, *args: Any, budget: MemoryBudget) -> None:
        self.budget = budget
        super().__init__(*args)
