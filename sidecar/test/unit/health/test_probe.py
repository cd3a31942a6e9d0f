"""One check of the app over a real socket: any 2xx, complete, in time."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from sidecar.health.probe import Probe
from sidecar.health.threshold import CheckResult
from sidecar.net.client.fetcher import Fetcher


class Canned(Protocol):
    """Answers any request with the factory's bytes, and leaves the connection open."""

    def dataReceived(self, data: bytes) -> None:
        self.factory.asked = data
        self.transport.write(self.factory.answer)  # type: ignore[union-attr]  # connected, and built by Factory


class ProbeTests(TestCase):
    async def checked(self, answer: bytes, timeout: float = 30.0) -> CheckResult:
        factory: Any = Factory.forProtocol(Canned)
        factory.answer = answer
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        agent = Fetcher(reactor)
        self.addCleanup(agent.close)
        self.url = f"http://127.0.0.1:{port.getHost().port}/_status/health"
        return await Probe(agent, self.url, timeout).check()

    async def test_any_2xx_is_healthy(self) -> None:
        """200, and 204 without a body, are good answers."""
        self.assertTrue((await self.checked(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).healthy)
        self.assertTrue((await self.checked(b"HTTP/1.1 204 No Content\r\n\r\n")).healthy)

    async def test_other_statuses_are_not(self) -> None:
        """A redirect is not followed; it, 404 and 500 are failures that name the status."""
        for status in (b"302 Found\r\nLocation: http://127.0.0.1:1/", b"404 Not Found", b"500 Oops"):
            result = await self.checked(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
            self.assertFalse(result.healthy)
            self.assertIn(status[:3].decode(), result.detail)

    async def test_a_stalled_body_is_a_failure(self) -> None:
        """Headers in time are not enough."""
        result = await self.checked(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", timeout=0.5)
        self.assertFalse(result.healthy)
        self.assertIn(self.url, result.detail)

    async def test_silence_is_a_failure(self) -> None:
        """An app that accepts and says nothing is unhealthy once the time is over."""
        self.assertFalse((await self.checked(b"", timeout=0.5)).healthy)

    async def test_nonsense_is_a_failure(self) -> None:
        """What is no HTTP is no health."""
        self.assertFalse((await self.checked(b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n", timeout=5.0)).healthy)

    async def test_nobody_there_is_a_failure(self) -> None:
        """A refused connection says so."""
        agent = Fetcher(reactor)
        self.addCleanup(agent.close)
        result = await Probe(agent, "http://127.0.0.1:1/", 30.0).check()
        self.assertFalse(result.healthy)
        self.assertIn("127.0.0.1:1", result.detail)

    async def test_a_login_in_the_url(self) -> None:
        """User and password go along as they should."""
        factory: Any = Factory.forProtocol(Canned)
        factory.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        agent = Fetcher(reactor)
        self.addCleanup(agent.close)
        url = f"http://joe:s%40cret@127.0.0.1:{port.getHost().port}/ok?a=b"
        self.assertTrue((await Probe(agent, url, 30.0).check()).healthy)
        self.assertIn(b"GET /ok?a=b HTTP/1.1", factory.asked)
        self.assertIn(b"Basic am9lOnNAY3JldA==", factory.asked)

    async def test_secrets_of_the_url(self) -> None:
        """What is found says nothing of a user, a password or a query."""
        agent = Fetcher(reactor)
        self.addCleanup(agent.close)
        result = await Probe(agent, "http://u:hidden@127.0.0.1:1/ok?token=hidden", 30.0).check()
        self.assertIn("127.0.0.1:1/ok", result.detail)
        self.assertNotIn("hidden", result.detail)

    async def test_can_be_cancelled(self) -> None:
        """Stopping does not wait for an app that hangs."""
        agent = Fetcher(reactor)
        self.addCleanup(agent.close)
        factory: Any = Factory.forProtocol(Canned)
        factory.answer = b""
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        checking: Deferred[CheckResult] = Probe(agent, f"http://127.0.0.1:{port.getHost().port}/", 60.0).check()
        outcome: list[object] = []
        checking.addBoth(outcome.append)
        checking.cancel()
        self.assertEqual(len(outcome), 1)
