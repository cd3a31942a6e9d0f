"""What each of our exceptions is in HTTP: the only table of statuses."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http import HTTPStatus

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar import errors
from sidecar.model import Fault

#: Who speaks, in the ``id`` of an error that is ours.
SIDECAR = "go.micro.sidecar"
#: The same for what went wrong on the way of a call.
RPC = "go.micro.rpc"
#: The same of a call by path.
API = "go.micro.api"

#: Seconds that a caller is asked to wait when a bounded queue of ours is full.
RETRY_AFTER = 1

_log = Logger()


class MethodNotAllowed(errors.CallerError):
    """The path does not speak this HTTP method. :ivar allowed: those that it does speak."""

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{method} is not allowed on {path}: use {' or '.join(allowed)}")
        self.allowed = allowed


class UpgradeRequired(errors.CallerError):
    """The path speaks WebSocket only."""


class AppUnhealthy(errors.DependencyError):
    """The app beside us is not well. :ivar status: what it answered itself, or None when it did not answer."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


#: The nearest class in an error's ancestry decides; whatever is not here is a fault of ours.
STATUSES: Mapping[type[BaseException], HTTPStatus] = {
    errors.CallerError: HTTPStatus.BAD_REQUEST,
    errors.BadRequest: HTTPStatus.BAD_REQUEST,
    errors.TopicInvalid: HTTPStatus.BAD_REQUEST,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Gone: HTTPStatus.GONE,
    MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.TooManyFailures: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Misdirected: HTTPStatus.MISDIRECTED_REQUEST,
    UpgradeRequired: HTTPStatus.UPGRADE_REQUIRED,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.StreamsUnsupported: HTTPStatus.NOT_IMPLEMENTED,
    errors.DependencyError: HTTPStatus.BAD_GATEWAY,
    errors.MalformedRecord: HTTPStatus.BAD_GATEWAY,
    errors.ConnectFailed: HTTPStatus.BAD_GATEWAY,
    errors.NotSent: HTTPStatus.BAD_GATEWAY,
    errors.ConnectionLost: HTTPStatus.BAD_GATEWAY,
    errors.BadAnswer: HTTPStatus.BAD_GATEWAY,
    errors.NoNodes: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.UnknownTransport: HTTPStatus.NOT_IMPLEMENTED,
    errors.Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NoSubscriber: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.EngineUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StorageFailed: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.ShuttingDown: HTTPStatus.SERVICE_UNAVAILABLE,
    AppUnhealthy: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.CallTimeout: HTTPStatus.GATEWAY_TIMEOUT,
}


@frozen
class Problem:
    """What an exception is to the one who asked.

    :ivar fault: what it says, in go-micro's words. :ivar status: of the answer. :ivar headers: to answer besides.
    """

    fault: Fault
    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()


def problem(error: BaseException, id: str = SIDECAR) -> Problem:
    """Say what an exception is in HTTP.

    :param error: what was raised. An unexpected one is logged here, under the incident id that the answer names.
    :param id: who speaks, in the error JSON.
    """
    if isinstance(error, errors.ServiceFault):
        return _of_the_service(error.fault, API if id == API else RPC)
    if isinstance(error, CancelledError):
        # Cancelled since the caller left, which needs no answer, or since we are leaving ourselves.
        error = errors.ShuttingDown("the sidecar is stopping and gave this request up: try again")
    status = _status_of(error)
    if status is None:
        return _incident(error, id)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, MethodNotAllowed):
        headers = ((b"Allow", ", ".join(error.allowed).encode("ascii")),)
    elif isinstance(error, UpgradeRequired):
        headers = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"))
    elif isinstance(error, errors.Unauthenticated):
        said = b', error="invalid_token"' if error.invalid else b""
        headers = ((b"WWW-Authenticate", b'Bearer realm="microsidecar"' + said),)
    elif isinstance(error, errors.TooManyFailures):
        headers = ((b"Retry-After", b"5"),)
    elif isinstance(error, errors.Overloaded):
        headers = ((b"Retry-After", b"%d" % RETRY_AFTER),)
    elif isinstance(error, AppUnhealthy) and error.status is not None:
        status = error.status if is_error(error.status) else status
    detail = error.detail if isinstance(error, errors.SidecarError) else str(error)
    return Problem(Fault(id, int(status), detail, _phrase(int(status))), int(status), headers)


def is_error(status: int) -> bool:
    """Whether an HTTP client would read this status as an error."""
    return 400 <= status <= 599


def _status_of(error: BaseException) -> int | None:
    for kind in type(error).__mro__:
        status = STATUSES.get(kind)
        if status is not None:
            return int(status)
    return None


def _of_the_service(fault: Fault, id: str) -> Problem:
    """A service's own error keeps what it says; only the status line has to be one that HTTP knows as an error.

    :param id: who speaks where it is bare text.
    """
    if fault.code == 0:
        # Bare text, which go-micro's own sidecar dresses like this.
        code = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        dressed = Fault(fault.id or id, code, f"error during request: {fault.detail}", _phrase(code))
        return Problem(dressed, code)
    return Problem(fault, fault.code if is_error(fault.code) else int(HTTPStatus.INTERNAL_SERVER_ERROR))


def _incident(error: BaseException, id: str) -> Problem:
    incident = secrets.token_hex(6)
    failure = Failure(error, type(error), error.__traceback__)
    _log.failure("Incident {incident}: a request could not be served", failure, incident=incident)
    code = int(HTTPStatus.INTERNAL_SERVER_ERROR)
    detail = f"internal error, incident {incident}: the sidecar's log tells more under this name"
    return Problem(Fault(id, code, detail, _phrase(code)), code)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
