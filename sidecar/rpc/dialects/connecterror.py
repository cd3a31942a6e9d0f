"""What a fault of the network means for a call: which error it is, in few words."""

from __future__ import annotations

from twisted.internet import error

from sidecar.errors import BadAnswer, CallError, ConnectFailed, ConnectionLost, NotSent, Overloaded
from sidecar.net import errors

#: The nearest class in an error's ancestry decides.
_CALL_ERRORS: dict[type[BaseException], type[CallError]] = {
    errors.Unavailable: ConnectFailed,
    errors.NotTaken: NotSent,
    errors.ConnectionBroken: ConnectionLost,
    errors.MalformedAnswer: BadAnswer,
    errors.QueueFull: Overloaded,
}


def call_error(error: errors.NetError) -> CallError:
    """:returns: the same in the words of calls, which tell whether the request can have run."""
    kind = next((_CALL_ERRORS[kind] for kind in type(error).__mro__ if kind in _CALL_ERRORS), ConnectionLost)
    return kind(str(error))


def why_not(problem: object) -> str:
    """:param problem: what connecting failed with."""
    if isinstance(problem, errors.TlsRefused):
        return str(problem)
    if isinstance(problem, error.ConnectionRefusedError):
        return "connection refused"
    if isinstance(problem, error.TimeoutError | error.TCPTimedOutError):
        return "no connection in time"
    if isinstance(problem, error.UserError):
        return "connecting was given up"
    if isinstance(problem, error.DNSLookupError):
        return str(problem)
    if isinstance(problem, error.NoRouteError):
        return "no route to it"
    return f"cannot connect: {problem}"
