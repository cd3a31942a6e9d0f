"""Every exception that ``net`` raises on purpose; what one means for a call, a backend or a flag is said above."""

from __future__ import annotations


class NetError(Exception):
    """The root. ``str(error)`` says what was wrong, and where."""


class InvalidSetting(NetError):
    """A file, an address or a network interface that we were given and that cannot be used."""


class RequestRefused(NetError):
    """A client's request cannot be taken by a server of ours.

    :ivar status: what to answer. :ivar detail: why, for the caller.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Unavailable(NetError):
    """Nobody is there who could take it; nothing was sent or kept."""


class AddressRefused(NetError):
    """An address to which others may not have us connect."""


class NotTaken(NetError):
    """The peer did not take the request: it cannot have run."""


class TlsRefused(NotTaken):
    """No TLS connection came about: one side did not take the other's certificate, or does not speak TLS. The message
    says what was wrong with what. No request was taken."""


class ConnectionBroken(NetError):
    """The connection ended after the request was written and before its answer came: it may have run."""


class MalformedAnswer(NetError):
    """The peer sent what is no answer, or too much of one."""


class QueueFull(NetError):
    """Too much waits already: for a connection, or for a peer that does not read."""


class PoolExhausted(QueueFull):
    """Every connection to one place is busy, and as many wait for one as may."""


class BudgetSpent(QueueFull):
    """What is kept for all peers together is too much, and this was among the largest and oldest."""


class NotPermitted(NetError):
    """The peer does not permit it with our credentials."""


class MessageTooLarge(NetError):
    """A message is larger than the peer takes."""


class InvalidSubject(NetError):
    """The peer has no such subjects."""


class RequestFailed(NetError):
    """An HTTP request of ours (a probe, an engine) got no whole answer. The message names method, URL and reason."""


class RequestTimeout(RequestFailed):
    """It got none in time."""
