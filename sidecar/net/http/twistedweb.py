"""twisted.web's own channel with the few things added that resources find on ours, for comparison.

It has twisted.web's limits on headers and its one idle timeout; of ours it keeps the largest body, and the drain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.python.failure import Failure
from twisted.web import server

from sidecar.net.http.head import BODILESS, header_block


class TwistedWebRequest(server.Request):
    """A stock request that resources can use like :class:`~sidecar.net.http.request.SlimRequest`; the names are its."""

    channel: Any  # twisted.web's, with our site
    content: Any
    on_lost: Callable[[], None] | None = None
    started: float = 0.0
    id_line: bytes | None = None
    head = None  # which would be known again
    _counted = False
    _too_large = False

    @property
    def body(self) -> bytes:
        self.content.seek(0)
        body: bytes = self.content.read()
        self.content.seek(0)
        return body

    @property
    def fields(self) -> dict[bytes, bytes]:
        return {name.lower(): values[-1] for name, values in self.requestHeaders.getAllRawHeaders()}

    @property
    def fields_raw(self) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, values in self.requestHeaders.getAllRawHeaders() for value in values]

    def found_for_all(self, found: Any) -> None:
        """The stock channel knows no header again."""

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        self._too_large = length is not None and length > self.channel.site.limits.max_body

    def handleContentChunk(self, data: bytes) -> None:
        if self._too_large or self.content.tell() + len(data) > self.channel.site.limits.max_body:
            self._too_large = True  # what follows is read and thrown away: the stock channel cannot stop listening
        else:
            super().handleContentChunk(data)

    def process(self) -> None:
        channel = self.channel  # which is gone once the request is finished
        site = channel.site
        site.in_flight += 1
        self._counted = True
        if site.recorder is not None:
            self.started = site.clock.seconds()
        if self._too_large:
            headers, body = site.refusal(413, f"the body has more than {site.limits.max_body} bytes")
            self.answer(413, headers, body)
        else:
            super().process()
            if channel.transport is None and not self.finished:
                self._taken_over(site)

    def _taken_over(self, site: Any) -> None:
        """The connection speaks another protocol now (a WebSocket): no answer of ours will end this request."""
        if site.recorder is not None:
            now = site.clock.seconds()
            site.recorder.record(101, now - self.started, self.path, now)
        self._count_out(site)

    def answer(self, status: int, headers: bytes | Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        if self.finished or self._disconnected:
            return
        if status not in BODILESS:
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self._head(status, headers)
        self.write(body)
        self.finish()

    def begin(self, status: int, headers: bytes | Sequence[tuple[bytes, bytes]] = b"") -> None:
        if not self.finished and not self._disconnected:
            self._head(status, headers)
            self.write(b"")

    def _head(self, status: int, headers: bytes | Sequence[tuple[bytes, bytes]]) -> None:
        self.setResponseCode(status)
        for line in header_block(headers).split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            self.responseHeaders.addRawHeader(name, value)
        if self.channel.site.draining:
            self.setHeader(b"Connection", b"close")
            self.channel.persistent = 0

    def count_begun(self) -> None:
        site = self.channel.site
        if site.recorder is not None:
            now = site.clock.seconds()
            site.recorder.record(self.code, now - self.started, self.path, now)
        self.started = -1.0

    def finish(self) -> None:
        channel, already = self.channel, self.finished
        self.on_lost = None
        super().finish()
        if not already:
            site = channel.site
            if site.recorder is not None and self.started >= 0:
                now = site.clock.seconds()
                site.recorder.record(self.code, now - self.started, self.path, now)
            self._count_out(site)

    def connectionLost(self, reason: Failure) -> None:
        self._count_out(self.channel.site)
        on_lost, self.on_lost = self.on_lost, None
        super().connectionLost(reason)
        if on_lost is not None:
            on_lost()

    def processingFailed(self, reason: Failure) -> Failure:
        if self.channel is not None:
            status, headers, body = self.channel.site.failed(reason)
            if self.startedWriting:
                self.channel.transport.abortConnection()
            else:
                self.answer(status, headers, body)
        return reason

    def _count_out(self, site: Any) -> None:
        if self._counted:
            self._counted = False
            site.in_flight -= 1
            site.answered()
