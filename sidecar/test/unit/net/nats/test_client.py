"""The NATS link: our client over a fake server."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.model import BackendOptions
from sidecar.net.errors import InvalidSetting, MessageTooLarge, NotPermitted, Unavailable
from sidecar.net.nats.access import NatsAddress, NatsServers, parse_address
from sidecar.net.nats.client import Interest, NatsClient
from sidecar.test.doubles.servers.nats import FakeNats

reactor: Any = installed


class AddressTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A host, host:port and URLs are read; the port is 4222 where none is given."""
        for text, expected in {
            "nats.local": NatsAddress("nats.local"),
            "10.0.0.1:5222": NatsAddress("10.0.0.1", 5222),
            "nats://[::1]:4223": NatsAddress("::1", 4223),
            "tls://n1": NatsAddress("n1", 4222, "tls"),
            "nats://joe:s%40cret@n1": NatsAddress("n1", username="joe", password="s@cret"),
        }.items():
            self.assertEqual(parse_address(text), expected)

    def test_faults(self) -> None:
        """What is no address is refused before anything connects, and never with a password in the message."""
        for text in ("", "n1:notaport", "http://n1:4222", "n1:70000", "ws://n1", "nats://u:hidden@n1/x"):
            error = self.assertRaises(InvalidSetting, parse_address, text)
            self.assertNotIn("hidden", str(error))

    def test_secrets_are_not_shown(self) -> None:
        """Neither password nor token is in the repr."""
        access = NatsServers(BackendOptions(password="hidden", token="hidden"))
        self.assertNotIn("hidden", repr(access))
        self.assertNotIn("hidden", repr(parse_address("nats://u:hidden@n")))

    def test_credentials_file(self) -> None:
        """A credentials file that is missing or holds something else is refused with its name."""
        other = self.mktemp()
        with open(other, "w") as file:
            file.write("no credentials")
        for path in ("/nonexistent.creds", other):
            error = self.assertRaises(
                InvalidSetting, NatsServers.from_options, BackendOptions(reactor, credentials_file=path)
            )
            self.assertIn(path, str(error))

    def test_without_the_library(self) -> None:
        """The line that installs it is in the error, and so is the extra."""
        self.patch(sys, "modules", {**sys.modules, "nats": None})
        error = self.assertRaises(InvalidSetting, NatsServers.from_options, BackendOptions())
        for words in ("pip install 'nats-py[nkeys]>=", "microsidecar[nats]"):
            self.assertIn(words, str(error))

    def test_nkey_seed_file(self) -> None:
        """A file with one seed is an nkey; one with a JWT and a seed is a creds file."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU\n")
        self.assertEqual(NatsServers(BackendOptions(credentials_file=path)).credentials(), {"nkeys_seed": path})
        with open(path, "w") as file:
            file.write("-----BEGIN NATS USER JWT-----\nx\n-----BEGIN USER NKEY SEED-----\nSU..\n")
        self.assertEqual(NatsServers(BackendOptions(credentials_file=path)).credentials(), {"user_credentials": path})


class LinkTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.server = FakeNats(reactor)
        self.server.start()
        self.addCleanup(self.server.stop)

    def link(self, start: bool = True, **access: Any) -> NatsClient:
        link = NatsClient(
            reactor, NatsServers(BackendOptions(**access), (NatsAddress("127.0.0.1", self.server.port),)), "test"
        )
        if start:
            link.startService()
            self.addCleanup(link.stopService)
        return link

    async def until(self, link: NatsClient, connected: bool) -> None:
        while link.connected != connected:
            await deferLater(reactor, 0.01, lambda: None)

    def received(self, count: int) -> tuple[Any, Deferred[list[tuple[str, bytes]]]]:
        got: list[tuple[str, bytes]] = []
        done: Deferred[list[tuple[str, bytes]]] = Deferred()

        def deliver(subject: str, reply: str, payload: bytes) -> None:
            got.append((subject, payload))
            if len(got) == count:
                done.callback(got)

        return deliver, done

    async def test_round_trip(self) -> None:
        """What is published reaches a subscriber, in order, and the Deferreds fire when the server has it."""
        link = self.link()
        await self.until(link, True)
        deliver, done = self.received(1000)
        await link.subscribe(Interest("a.b", deliver))
        await gatherResults([link.publish("a.b", b"%d" % number) for number in range(1000)])
        self.assertEqual(len(self.server.published), 1000)
        self.assertEqual(await done, [("a.b", b"%d" % number) for number in range(1000)])

    async def test_queue(self) -> None:
        """Members of a queue share the messages."""
        link = self.link()
        await self.until(link, True)
        got: list[bytes] = []
        done: Deferred[None] = Deferred()

        def deliver(subject: str, reply: str, payload: bytes) -> None:
            got.append(payload)
            if len(got) == 20:
                done.callback(None)

        await link.subscribe(Interest("a", deliver, "q"))
        await link.subscribe(Interest("a", deliver, "q"))
        for number in range(20):
            await link.publish("a", b"%d" % number)
        await done
        self.assertEqual(sorted(got), sorted(b"%d" % number for number in range(20)))

    async def test_drop(self) -> None:
        """Dropped, nothing is delivered and the server knows; twice is no error."""
        link = self.link()
        await self.until(link, True)
        got: list[bytes] = []
        interest = Interest("a", lambda subject, reply, payload: got.append(payload))
        await link.subscribe(interest)
        await link.subscribe(interest)
        self.assertEqual(len(self.server.connections[0].subscriptions), 1)
        await link.unsubscribe(interest)
        await link.unsubscribe(interest)
        await link.publish("a", b"x")
        self.assertEqual(self.server.connections[0].subscriptions, {})
        self.assertEqual(got, [])

    async def test_server_comes_later(self) -> None:
        """With no server: publishing fails at once, subscribing is remembered; when it comes, all of it is live."""
        await self.server.stop()
        link = self.link()
        deliver, done = self.received(1)
        await link.subscribe(Interest("a", deliver))
        failing: Deferred[Any] = self.assertFailure(link.publish("a", b"x"), Unavailable)
        self.assertIn("not published", str(await failing))
        while "Connect call failed" not in link.detail:
            await deferLater(reactor, 0.01, lambda: None)
        self.server.start()
        await self.until(link, True)
        await link.publish("a", b"late")
        self.assertEqual(await done, [("a", b"late")])

    async def test_reconnect(self) -> None:
        """A lost connection is told, comes back by itself, with its subscriptions; what failed is not sent later."""
        link = self.link()
        changes: list[bool] = []
        link.on_change(changes.append)
        await self.until(link, True)
        deliver, done = self.received(1)
        await link.subscribe(Interest("a", deliver))
        await self.server.stop()
        await self.until(link, False)
        await self.assertFailure(link.publish("a", b"lost"), Unavailable)
        self.server.start()
        await self.until(link, True)
        await link.publish("a", b"found")
        self.assertEqual(await done, [("a", b"found")])
        self.assertEqual(changes, [True, False, True])

    async def test_publishes_under_way_fail(self) -> None:
        """A publish that the server did not confirm before the connection ended fails."""
        link = self.link()
        await self.until(link, True)
        self.server.frozen = True
        publishing = link.publish("a", b"x")
        await deferLater(reactor, 0.05, lambda: None)
        self.server.drop()
        await self.assertFailure(publishing, Unavailable)
        self.server.frozen = False
        await self.until(link, True)

    async def test_too_large(self) -> None:
        """More than the server takes is refused with its limit, and the connection lives on."""
        self.server.max_payload = 100
        link = self.link()
        await self.until(link, True)
        failing: Deferred[Any] = self.assertFailure(link.publish("a", b"x" * 101), MessageTooLarge)
        self.assertIn("100", str(await failing))
        await link.publish("a", b"x" * 100)

    async def test_token(self) -> None:
        """A token is shown; a wrong one is said to be the trouble."""
        self.server.token = "s3cret"
        link = self.link(token="s3cret")
        await self.until(link, True)
        wrong = self.link(token="wrong")
        while "authorization" not in wrong.detail.lower():
            await deferLater(reactor, 0.01, lambda: None)
        self.assertFalse(wrong.connected)

    async def test_tls_wanted(self) -> None:
        """Where TLS was asked for, a server without it gets no credentials and is not used."""
        link = self.link(token="s3cret", tls=True)
        while "TLS" not in link.detail:
            await deferLater(reactor, 0.01, lambda: None)
        self.assertFalse(link.connected)

    async def test_forbidden(self) -> None:
        """What the server does not permit fails for that publisher or subscriber, and for nobody else."""
        self.server.forbidden.add("Secret")
        link = self.link()
        await self.until(link, True)
        await self.assertFailure(link.publish("Secret", b"x"), NotPermitted)
        await self.assertFailure(link.subscribe(Interest("Secret", lambda *_: None)), NotPermitted)
        await link.publish("open", b"x")

    async def test_failing_subscriber(self) -> None:
        """What a subscriber raises is logged and the others are served."""
        link = self.link()
        await self.until(link, True)
        deliver, done = self.received(1)

        def failing(subject: str, reply: str, payload: bytes) -> None:
            raise ZeroDivisionError

        await link.subscribe(Interest("a", failing))
        await link.subscribe(Interest("a", deliver))
        await link.publish("a", b"x")
        await done
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
