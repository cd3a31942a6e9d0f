"""What every resource that opens WebSockets asks of a request first, and what then opens them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sidecar.errors import BadRequest, Forbidden
from sidecar.model import Call, Caller
from sidecar.problems import UpgradeRequired
from sidecar.pubsub.subscriber import SubscribeRequest
from sidecar.web.cors import CorsPolicy, refusal
from sidecar.wire.ws import handshake


class IPubSubSockets(Protocol):
    """Opens WebSockets that publish and subscribe. :ivar new_id: makes ids of messages."""

    new_id: Callable[[], str]

    def admit(self, request: Any) -> None:
        """Ask before :meth:`upgrade`. :raises Overloaded: there are too many WebSockets already.
        :raises ShuttingDown: none is opened any more."""

    def upgrade(self, request: Any, asked: SubscribeRequest) -> int:
        """Open one. :returns: NOT_DONE_YET: the connection is no longer HTTP's."""

    def note_published(self, topic: str) -> None:
        """A message was published by other means."""


class IStreamSockets(Protocol):
    """Opens WebSockets that are streams of a service."""

    def admit(self, request: Any) -> None:
        """As :meth:`IPubSubSockets.admit`."""

    def upgrade(self, request: Any, call: Call, caller: Caller) -> int:
        """As :meth:`IPubSubSockets.upgrade`. :param call: what opens the stream. :param caller: who asks."""


def check(request: Any, cors: CorsPolicy, purpose: str) -> None:
    """See that a WebSocket can be opened from ``request``.

    :param purpose: what else to do, for somebody who did not ask for one.
    :raises UpgradeRequired: none was asked for. :raises BadRequest: it was asked for wrongly.
    :raises Forbidden: a page of that origin may not.
    """
    fields = request.fields
    if not handshake.wanted(fields) or request.method != b"GET":
        raise UpgradeRequired(purpose)
    problem = handshake.problem(request.clientproto, fields)
    if problem is not None:
        raise BadRequest(problem)
    origin = fields.get(b"origin")
    if not cors.permits_websocket(origin, fields.get(b"host")):
        raise Forbidden(refusal(origin or b"", fields.get(b"host"), "open a WebSocket here"))
