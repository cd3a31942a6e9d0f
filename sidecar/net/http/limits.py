"""What one client may ask of an HTTP server."""

from __future__ import annotations

from attrs import frozen

from sidecar.net.peers import Shares


@frozen
class HTTPLimits:
    """Sizes in bytes, times in seconds.

    :ivar max_header: request line and header fields together.
    :ivar max_body: one request's body.
    :ivar header_timeout: from the first byte of a request, or from connecting, to the end of its header.
    :ivar body_timeout: to receive a body; each ``body_rate`` bytes that did arrive give a second more.
    :ivar idle_timeout: between two requests, and for a client to take an answer that is waiting for it.
    :ivar linger: after refusing a request, how long its remaining bytes are read and thrown away, so that the client
        gets to see the answer instead of a reset.
    :ivar queue_timeout: that a request may wait to be begun, where more come than can be answered.
    :ivar max_connections: open at once; the next one is told 503. :ivar shares: what one peer may have.
    """

    max_header: int = 16 * 1024
    max_body: int = 4 * 1024 * 1024
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    body_rate: int = 16 * 1024
    idle_timeout: float = 75.0
    linger: float = 2.0
    queue_timeout: float = 0.75
    max_connections: int = 10_000
    shares: Shares = Shares()  # noqa: RUF009  # frozen
