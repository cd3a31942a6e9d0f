"""The WebSocket client's handshake."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from sidecar.websocket.client import ListeningFactory


class HandshakeTests(SynchronousTestCase):
    def test_host(self) -> None:
        """The Host header names whom we speak to, an IPv6 address in brackets."""
        for host in ("[::1]", "127.0.0.1", "my_app", "-app"):
            factory = ListeningFactory(
                MemoryReactorClock(), f"ws://{host}:8081/broker?topic=t", lambda _: None, lambda _: None, {}
            )
            protocol: Any = factory.buildProtocol(None)
            transport = StringTransport()
            protocol.makeConnection(transport)
            self.assertIn(f"\r\nHost: {host}:8081\r\n".encode(), transport.value())
            protocol.wasClean = True
            factory.ended = None
            protocol._connectionLost(None)
