"""Why a node could not be reached, in few words."""

from __future__ import annotations

from twisted.internet import error


def why_not(problem: object) -> str:
    """:param problem: what connecting failed with."""
    if isinstance(problem, error.ConnectionRefusedError):
        return "connection refused"
    if isinstance(problem, error.TimeoutError | error.TCPTimedOutError):
        return "no connection in time"
    if isinstance(problem, error.UserError):
        return "connecting was given up"
    if isinstance(problem, error.DNSLookupError):
        return "its name is not known"
    if isinstance(problem, error.NoRouteError):
        return "no route to it"
    return f"cannot connect: {problem}"
