"""Connecting within a time."""

from __future__ import annotations

import socket
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.connecting import connect


def _found(*hosts: str) -> Any:
    def getaddrinfo(host: str, port: int, type: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, type, 0, "", (address, port)) for address in hosts]

    return getaddrinfo


class ConnectTests(SynchronousTestCase):
    def test_silence(self) -> None:
        """A look-up that nobody answers is given up."""
        never = threading.Event()
        self.addCleanup(never.set)

        def getaddrinfo(*_: object, **__: object) -> Any:
            never.wait()
            return []

        error = self.assertRaises(TimeoutError, connect, "silent.example", 80, 0.01, getaddrinfo)
        self.assertIn("silent.example", str(error))

    def test_addresses(self) -> None:
        """Every address of a name is tried."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with connect("several", port, 60.0, _found("127.0.0.99", "127.0.0.1")) as peer:
                self.assertEqual(peer.getpeername(), ("127.0.0.1", port))
        self.assertRaises(ConnectionRefusedError, connect, "several", port, 60.0, _found("127.0.0.99", "127.0.0.1"))

    def test_nowhere(self) -> None:
        """A name without an address, and what can be no name, are told as such."""
        self.assertRaises(OSError, connect, "nowhere", 1, 60.0, _found())
        self.assertRaises(OSError, connect, "a..b", 1, 60.0)
