"""Answers in two pieces are not waited for by one side while the other waits for its acknowledgement."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.net.client.connection import ClientConnection
from sidecar.net.client.duplex import DuplexConnection
from sidecar.net.client.quickack import acknowledge

HEAD, BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"


class Socket:
    """:ivar noted: the options that were set."""

    def __init__(self, error: OSError | None = None) -> None:
        self.noted: list[tuple[int, int, int]] = []
        self._error = error

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if self._error is not None:
            raise self._error
        self.noted.append((level, option, value))


class Transport:
    def __init__(self) -> None:
        self.socket = Socket()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class QuickAckTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not hasattr(socket, "TCP_QUICKACK"):
            raise SkipTest("this system has no TCP_QUICKACK")
        self.transport: Any = Transport()
        self.once = [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)]

    def test_two_pieces(self) -> None:
        """What came is acknowledged while the rest is due, and an answer that comes whole costs nothing."""
        owner: Any = Transport()
        connection = ClientConnection(owner, 1000)
        connection.makeConnection(self.transport)
        for _ in range(3):
            connection.send(b"GET / HTTP/1.1\r\n\r\n", owner)
            connection.dataReceived(HEAD + BODY)
        self.assertEqual(self.transport.socket.noted, [])
        connection.send(b"GET / HTTP/1.1\r\n\r\n", owner)
        connection.dataReceived(HEAD)
        self.assertEqual(self.transport.socket.noted, self.once)
        connection.dataReceived(BODY)
        self.assertEqual(self.transport.socket.noted, self.once)

    def test_stream(self) -> None:
        """So is what comes on a stream of messages."""
        connection = DuplexConnection(lambda _: None, lambda _: None, 1000)
        connection.makeConnection(self.transport)
        connection.dataReceived(HEAD + BODY)
        self.assertEqual(self.transport.socket.noted, [])
        connection.dataReceived(HEAD)
        self.assertEqual(self.transport.socket.noted, self.once)

    def test_no_socket(self) -> None:
        """A transport without a socket, or with one that is closed, is left alone."""
        acknowledge(object())
        self.transport.socket = Socket(OSError("Bad file descriptor"))
        acknowledge(self.transport)
