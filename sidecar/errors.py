"""Every exception that we raise on purpose, grouped by culprit. Statuses live in :mod:`sidecar.problems` alone."""

from __future__ import annotations

from sidecar.model import Attempt, Fault


class SidecarError(Exception):
    """The root. ``str(error)`` says what was wrong, where, and what to do."""

    @property
    def detail(self) -> str:
        return str(self)


# --- The caller's ---------------------------------------------------------------------------------------------------


class CallerError(SidecarError):
    """The request cannot be served as it was made."""


class BadRequest(CallerError):
    """The input is malformed. The message names the field by path: ``nodes[0].port: 70000 is not 1 to 65535``."""


class NotFound(CallerError):
    """There is no such service (or subscription, or path)."""


class Gone(CallerError):
    """What was asked for was kept once, and is no more."""


class TooLarge(CallerError):
    """A body, frame or message is over its limit."""


class UnsupportedMedia(CallerError):
    """A content type that we do not speak."""


class StreamsUnsupported(CallerError):
    """A stream was asked for where there are only calls."""


class Forbidden(CallerError):
    """The caller may not do this (an Origin, an address that is not registered)."""


class Misdirected(CallerError):
    """The request names a host that is not this one, as a page does whose name resolves to us."""


class Unauthenticated(CallerError):
    """Who asks has to show who they are. :ivar invalid: whether they showed something that is not good."""

    def __init__(self, detail: str, invalid: bool = False) -> None:
        super().__init__(detail)
        self.invalid = invalid


class TooManyFailures(CallerError):
    """What a caller showed was not good too often."""


class Conflict(CallerError):
    """What was asked for is somebody else's already."""


class TopicInvalid(BadRequest):
    """The broker in use cannot carry this topic or queue name."""


# --- A dependency's -------------------------------------------------------------------------------------------------


class DependencyError(SidecarError):
    """Something that we depend on did not do its part."""


class EngineUnavailable(DependencyError):
    """The registry or broker engine cannot be reached, so a write was refused. Nothing was kept."""


class StorageFailed(DependencyError):
    """What has to survive a restart cannot be written to the disk, so a write was refused. Nothing was kept."""


class NoSubscriber(DependencyError):
    """Nobody is subscribed to a message that was to reach somebody."""


class MalformedRecord(DependencyError):
    """A record in an engine that cannot be read. Skipped with one log line."""


class CallError(DependencyError):
    """A call that failed. :ivar attempts: the tries, in order."""

    def __init__(self, detail: str, attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__(detail)
        self.attempts = attempts


class NoNodes(CallError):
    """The service is known but has no node to call."""


class UnknownTransport(CallError):
    """The service has nodes, and all are reached by a transport that we do not speak."""


class ConnectFailed(CallError):
    """No connection to the node: the request cannot have run."""


class NotSent(CallError):
    """The connection ended before the request was written: it cannot have run."""


class ConnectionLost(CallError):
    """The connection ended after the request was written and before its answer: it may have run."""


class CallTimeout(CallError):
    """The deadline passed."""


class BadAnswer(CallError):
    """The node answered something that is not an answer."""


class Overloaded(CallError):
    """A bounded queue of ours is full: try again later."""


class ServiceFault(CallError):
    """The service itself answered an error.

    :ivar fault: what it said, code and id kept.
    :ivar enveloped: whether it came in go-micro's form of an error. A 5xx that did not may be some proxy's.
    """

    def __init__(self, fault: Fault, attempts: tuple[Attempt, ...] = (), enveloped: bool = True) -> None:
        super().__init__(fault.detail, attempts)
        self.fault = fault
        self.enveloped = enveloped


# --- Ours -----------------------------------------------------------------------------------------------------------


class ConfigError(SidecarError):
    """A setting that cannot work. Raised before any port opens."""


class UnsafeSetting(ConfigError):
    """Settings that would open what is meant for few to everybody, and that nobody said to be meant so."""


class ShuttingDown(SidecarError):
    """We are leaving: no new work."""
