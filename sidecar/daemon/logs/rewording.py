"""Log lines of Twisted's that an operator has to see, in words that say what to do."""

from __future__ import annotations

from twisted.logger import LogEvent, LogLevel

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

#: How Twisted tells, at a level that is not shown, that a connection could not be taken.
_EXHAUSTED = "EMFILE encountered; releasing reserved file descriptor."


def reworded(event: LogEvent) -> LogEvent:
    """:returns: the event itself, or what is logged in its place."""
    if event.get("log_format") != _EXHAUSTED:
        return event
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else "unknown"
    return {
        **event,
        "log_namespace": "sidecar.daemon.listening",
        "log_level": LogLevel.warn,
        "log_format": "No file descriptor is left, so new connections are closed until one is: {limit} may be open"
        " at once (ulimit -n, or LimitNOFILE= of the unit); see --max_connections",
        "limit": limit,
    }
