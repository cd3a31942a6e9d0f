"""A ``twisted.web.server.Request`` that builds only what its resource asks for.

The stock class makes two header tables, parses cookies, query and form, and formats the time for each request; a call
through ``/rpc`` needs none of these. Here they are made on first use, so every resource finds what it knows, and the
hot path has four attributes and one method of its own:

``fields``
    the header fields by lower-case name (of a repeated one, the last), as ``dict[bytes, bytes]``;
``fields_raw``
    all header fields in order, as received, as ``list[tuple[bytes, bytes]]``;
``body``, ``trailers``
    the whole body, as ``bytes``, and the fields that followed it;
``on_lost``
    set it to a callable without arguments, and it is called once if the client goes away before it was answered: what
    ``notifyFinish`` offers, without a Deferred;
``answer(status, headers, body)``
    the whole answer in one write. After the client has gone it does nothing, as it does after an answer was given.

A resource with a true attribute ``streaming`` is rendered as soon as the header is there, whatever the body's size, and
has these besides, in any order and at the same time:

``stream_body(receiver)``
    have the body told to a receiver as it comes; ``pause_body()`` and ``resume_body()`` are its back-pressure;
``begin(status, headers)``, ``write(data)``, ``finish(trailers)``
    an answer in pieces; ``registerProducer`` tells when to stop writing, as everywhere in Twisted;
``count_begun()``
    records an answer in pieces when it has begun, for one that lasts as long as its client likes;
``on_lost``
    also called when the rest of the body cannot come: it is malformed, or stalls.

``sidecar.net.http.twistedweb`` gives requests of twisted.web's own channel the first six of these, and answers in
pieces, so resources that want whole bodies need not know which serves them. It has no streaming.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import resource, server
from twisted.web.error import UnsupportedMethod

from sidecar.net.http.answering import AnsweringRequest
from sidecar.net.http.events import End
from sidecar.net.http.server import BodyReceiver


class SlimRequest(AnsweringRequest):
    """One request on an :class:`~sidecar.net.http.channel.HTTPChannel`.

    :ivar started: when the request was handed to its resource, by the site's clock; only while answers are recorded.
        Below zero where the answer was recorded already.
    """

    started: float = 0.0
    _found: Any = None  # the resource, or the Failure to find one
    _receiver: BodyReceiver | None = None

    # --- Life -------------------------------------------------------------------------------------------------------

    def find_resource(self) -> None:
        """Find who will answer. That may fail; then :meth:`process` says so."""
        assert self.channel is not None
        self.site = self.channel.site
        head = self.head
        if head.found is not None:
            self._found = head.found
            if head.streams:
                self.streaming = True
            return
        if self.path == b"*":
            return
        try:
            found = self._found = self.site.getResourceFor(self)
            if isinstance(found, resource.EncodingResourceWrapper):
                self._encoder = found.getEncoder(self)
            elif getattr(found, "streaming", False):
                self.streaming = True
        except BaseException:
            self._found = Failure()

    def found_for_all(self, found: Any) -> None:
        """``found`` answers every request with this header: who sends it again need not be judged again."""
        self.head.found = found
        self.head.streams = getattr(found, "streaming", False)

    def process(self) -> None:
        """Have the resource render; whatever it raises becomes an answer."""
        site, found = self.site, self._found
        if site.recorder is not None:
            self.started = site.clock.seconds()
        if found is None:
            self._handleStar()
        elif type(found) is Failure:
            self.processingFailed(found)
        else:
            try:
                self.render(found)
            except BaseException:
                self.processingFailed(Failure())

    def begin_late(self) -> bool:
        """Called when it waited for its turn. :returns: whether its client is still there."""
        if self.channel is None:
            return False
        self.process()
        return True

    def refuse(self, seconds: float) -> bool:
        """Called when it waited for too long. :returns: as :meth:`begin_late`."""
        if self.channel is None:
            return False
        self.started = self.site.clock.seconds() - seconds
        self.answer(503, *self.site.overloaded)
        return True

    def render(self, resrc: Any) -> None:
        try:
            body = resrc.render(self)
        except UnsupportedMethod:
            super().render(resrc)  # asks once more, and answers 405, 501, or HEAD by way of GET
            return
        if body is server.NOT_DONE_YET:
            return
        if not isinstance(body, bytes):
            self.processingFailed(Failure(TypeError(f"{resrc!r} rendered {type(body).__name__}, not bytes")))
            return
        if body or self.method != b"HEAD":
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)
        self.finish()

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer for a resource that failed. What has begun cannot be taken back: then the connection is cut."""
        channel = self.channel
        status, headers, body = self.site.failed(reason)
        if channel is None:
            pass  # it was answered, or there is nobody to answer
        elif channel.transport is None:
            self.transport.abortConnection()  # it failed after it took the connection over
        elif self.startedWriting:
            channel.abort()
        else:
            self.__dict__.pop("responseHeaders", None)
            self.answer(status, headers, body)
        return reason

    def notifyFinish(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.notifications.append(waiting)
        return waiting

    def connectionLost(self, reason: Failure) -> None:
        """The client went away before it was answered in full."""
        self._disconnected = True
        self.channel = None
        if self.on_lost is not None:
            on_lost, self.on_lost = self.on_lost, None
            on_lost()
        if self._watched:
            waiting, self.notifications = self.notifications, []
            for one in waiting:
                one.errback(reason)

    def count_begun(self) -> None:
        """Record the answer that has just begun, as one that takes as long as its client likes: not its end."""
        site = self.site
        if self.channel is not None and site.recorder is not None:
            now = site.clock.seconds()
            site.recorder.record(self.code, now - self.started, self.path, now)
        self.started = -1.0

    # --- A body that is taken as it comes -----------------------------------------------------------------------------

    def stream_body(self, receiver: BodyReceiver) -> None:
        """Take the body as it comes, from now on; until then none of it is read.

        :param receiver: told of each piece and of the end, perhaps before this returns; never after the answer is
            complete or the client is lost. What it raises is answered like what a resource raises.
        """
        if self._receiver is not None:
            raise RuntimeError("stream_body(): somebody takes the body already")
        self._receiver = receiver
        if self.streaming:
            self.resume_body()
        else:  # it is all here
            if self.body:
                receiver.received(self.body)
            receiver.ended(list(self.trailers))

    def pause_body(self) -> None:
        """Take nothing more for now. (What was read already is kept: some 64 KiB at most.)"""
        if self.channel is not None:
            self.channel.body_wanted(False)

    def resume_body(self) -> None:
        """Go on taking it."""
        if self.channel is not None:
            self.channel.body_wanted(True)

    @property
    def body_follows(self) -> bool:
        """Whether more of the body is here already and comes in this very turn."""
        return self.channel is not None and self.channel.body_follows

    def decline_upgrade(self) -> None:
        """Answer a request that asks for another protocol as one that does not."""
        if self.upgrade and self.channel is not None:
            self.upgrade = False
            self.channel.upgrade_declined()

    def take_connection(self) -> tuple[Any, bytes]:
        """Have the connection: it speaks another protocol from now on.

        :returns: the transport, and what came on it after the header.
        """
        channel, self.channel = self.channel, None
        assert channel is not None
        self.on_lost = None
        return channel.give_away()

    def body_received(self, data: bytes) -> None:
        """Called by the channel."""
        self._tell(lambda receiver: receiver.received(data))

    def body_ended(self, end: End) -> None:
        """Called by the channel."""
        self.trailers = end.trailers
        self._tell(lambda receiver: receiver.ended(list(end.trailers)))

    def _tell(self, what: Callable[[BodyReceiver], None]) -> None:
        assert self._receiver is not None
        try:
            what(self._receiver)
        except BaseException:
            self.processingFailed(Failure())
