"""Heads of answers, read whole."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.client.streamed import head as responsehead
from sidecar.net.client.streamed.head import UNTIL_CLOSE
from sidecar.net.errors import MalformedAnswer
from sidecar.net.http.events import CHUNKED


class HeadTests(SynchronousTestCase):
    def test_where_the_body_ends(self) -> None:
        """By its length, by its chunks, by the end of the connection, or at once (RFC 9112, 6.3)."""
        for lines, is_head, length, persistent in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", False, 5, True),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n", False, CHUNKED, True),
            (b"HTTP/1.1 200 OK\r\n", False, UNTIL_CLOSE, False),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", True, 0, True),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", False, 0, True),
            (b"HTTP/1.1 204 No Content\r\n", False, 0, True),
            (b"HTTP/1.1 103 Early Hints\r\n", False, 0, True),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n", False, 0, False),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", False, 0, False),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n", False, 0, True),
        ):
            found = responsehead.read(lines + b"\r\n", is_head)
            self.assertEqual((found.length, found.persistent), (length, persistent), lines)

    def test_fields(self) -> None:
        """In order, repeated ones too; the phrase may be anything, or missing."""
        found = responsehead.read(b"HTTP/1.1 299 Fine, so\r\nA: 1\r\nSet-Cookie: x\r\na:  2 \r\nE:\r\n\r\n", False)
        self.assertEqual((found.status, found.reason), (299, b"Fine, so"))
        self.assertEqual(found.fields_raw, [(b"A", b"1"), (b"Set-Cookie", b"x"), (b"a", b"2"), (b"E", b"")])
        self.assertEqual(found.fields, {b"a": b"2", b"set-cookie": b"x", b"e": b""})
        self.assertEqual(responsehead.read(b"HTTP/1.1 200\r\n\r\n", False).reason, b"")
        self.assertEqual(responsehead.read("HTTP/1.1 200 Völlig\r\nX: ü\r\n\r\n".encode(), False).status, 200)

    def test_what_is_none(self) -> None:
        """Is refused, and above all what two readers would read in two ways."""
        for head in (
            b"HTTP/2 200 OK\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"HTTP/1.1 99 X\r\n\r\n",
            b"HTTP/1.1 2000 X\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: c\n\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: c\rX\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: c\r\n folded\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ):
            self.assertRaises(MalformedAnswer, responsehead.read, head, False)
