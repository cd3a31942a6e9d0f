"""Bodies of requests: decoded where they come in chunks, and made whole for resources that want them so."""

from __future__ import annotations

from types import SimpleNamespace

from httptools import HttpRequestParser

from sidecar.net.errors import RequestRefused
from sidecar.net.http.events import Fields, Head
from sidecar.net.http.server import Host
from sidecar.net.memory import copies

_EMPTY_LINE = b"\r\n\r\n"

#: Pieces that are kept as they came. More of them are joined, since a piece takes forty bytes beside its own.
_FEW = 32


class ChunkedBody:
    """Decodes one body in chunks: llhttp reads the framing, this cuts where the body may end.

    llhttp would read on into the next request, so it is shown no more than up to an empty line at a time: a body in
    chunks can end nowhere else. Each byte is looked at a fixed number of times, however many empty lines there are.

    :ivar trailers: the fields that followed the last chunk, as received.
    """

    def __init__(self, max_between: int) -> None:
        """:param max_between: bytes that may come between two chunks or after the last: sizes, extensions, trailers."""
        self._max_between = max_between
        self._between = 0
        self._edge = b""  # the end of what was shown, in which an empty line may have begun
        self._pieces: list[bytes] = []
        self._open = [None]  # empty when the body is complete
        self.trailers: Fields = []
        trailers = self.trailers

        def on_header(name: bytes, value: bytes) -> None:
            trailers.append((name, value.rstrip(b" \t")))

        # No methods of our own, which would tie a knot that only the collector undoes.
        self._parser = HttpRequestParser(
            SimpleNamespace(on_header=on_header, on_body=self._pieces.append, on_message_complete=self._open.clear)
        )
        self._parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        trailers.clear()

    @property
    def done(self) -> bool:
        """Whether its last chunk and its trailers are here."""
        return not self._open

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode from the front of ``data`` until the body ends or all is used.

        :returns: what came of the body, and what belongs to the next request.
        :raises HttpParserError: it is malformed. :raises RequestRefused: there is too much between two chunks.
        """
        pieces, feed, view = self._pieces, self._parser.feed_data, memoryview(data)
        start, size = 0, len(data)
        across = (self._edge + data[:3]).find(_EMPTY_LINE)
        end = across + 4 - len(self._edge) if across >= 0 else _after_empty_line(data, 0)
        while start < size:
            before = len(pieces)
            feed(view[start:end])
            if len(pieces) > before:
                self._between = 0
            else:
                self._between += end - start
                if self._between > self._max_between:
                    raise RequestRefused(431, f"between two chunks there are more than {self._max_between} bytes")
            start = end
            if not self._open:
                break
            end = _after_empty_line(data, max(0, start - 2))  # its end may be the first half of another one
        self._edge = (self._edge + data)[-3:] if size < 3 else data[-3:]
        came = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return came, data[start:]


def _after_empty_line(data: bytes, start: int) -> int:
    """Where the first empty line after ``start`` ends, or else ``data``."""
    found = data.find(_EMPTY_LINE, start)
    return found + 4 if found >= 0 else len(data)


class BodyCollector:
    """Collects the bodies of one connection, one at a time, within the limits of its site.

    :ivar size: bytes of the body that is here, until :meth:`clear` forgets it.
    """

    size = 0

    def __init__(self, site: Host) -> None:
        self._site = site
        self._max_body = site.limits.max_body
        self._pieces: list[bytes] = []
        self._joined: bytearray | None = None
        self._since = 0.0

    @property
    def kept(self) -> int:
        """Bytes that it takes of us: of one that was taken, and is being answered, all copies."""
        if self._pieces or self._joined is not None:
            return self.size
        return copies(self.size, self._site.budget.limit)

    def start(self, head: Head) -> None:
        """:raises RequestRefused: the body is announced too large."""
        if head.length > self._max_body:
            raise RequestRefused(413, f"the body has {head.length} bytes; {self._max_body} are taken")
        self._since = self._site.now

    def received(self, data: bytes) -> None:
        """A piece of it. :raises RequestRefused: it is too large."""
        self.size += len(data)
        if self.size > self._max_body:
            raise RequestRefused(413, f"the body has more than {self._max_body} bytes")
        if self._joined is not None:
            self._joined += data
            return
        self._pieces.append(data)
        if len(self._pieces) > _FEW:
            self._joined = bytearray().join(self._pieces)
            self._pieces.clear()

    def deadline(self) -> float:
        """Until when the rest has to come, by the site's ``now``."""
        limits = self._site.limits
        return self._since + limits.body_timeout + self.size / limits.body_rate

    def take(self) -> bytes:
        """The body, which is whole. It keeps its :attr:`size` until it is forgotten."""
        pieces, joined = self._pieces, self._joined
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces) if joined is None else bytes(joined)
        pieces.clear()
        self._joined = None
        return body

    def clear(self) -> None:
        """Forget what came."""
        if self.size:
            self._pieces.clear()
            self._joined = None
            self.size = 0
