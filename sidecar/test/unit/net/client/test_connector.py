"""Hosts are connected to by whichever of their addresses answers."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError, TimeoutError, UserError
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory, connectionDone
from twisted.trial.unittest import TestCase

from sidecar.net.client import connector
from sidecar.net.client.addressrules import AddressRules
from sidecar.net.client.endpoints import endpoint
from sidecar.net.errors import AddressRefused
from sidecar.test.doubles.names import NamedReactor

reactor: Any = installed  # a module to mypy


class Ending(Protocol):
    """One side of a connection. :ivar over: fires when it is gone."""

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self.over.callback(None)


class Server(ServerFactory):
    """:ivar taken: the connections."""

    noisy = False

    def __init__(self) -> None:
        self.taken: list[Ending] = []

    def buildProtocol(self, addr: Any) -> Ending:
        self.taken.append(made := Ending())
        return made


class Connecting(ClientFactory):
    noisy = False

    def __init__(self) -> None:
        self.done: Deferred[Any] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.made = 0

    def buildProtocol(self, addr: Any) -> Protocol:
        self.made += 1
        self.done.callback(addr.host)
        return Protocol()

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        self.lost.callback(None)

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.done.errback(reason)


class ConnectTests(TestCase):
    def setUp(self) -> None:
        self.factory = Connecting()
        self.servers: list[Server] = []
        self.addCleanup(self.closed)

    async def closed(self) -> None:
        for server in self.servers:
            for connection in server.taken:
                await connection.over

    def listen(self, host: str) -> int:
        """A server at ``host``. :returns: its port."""
        server = Server()
        port: Any = reactor.listenTCP(0, server, interface=host)
        self.addCleanup(port.stopListening)
        self.servers.append(server)
        number: int = port.getHost().port
        return number

    def black_hole(self, port: int) -> str:
        """An address that takes no connection and refuses none: its queue is full."""
        full = socket.socket()
        self.addCleanup(full.close)
        full.bind(("127.0.0.77", port))
        full.listen(0)
        for _ in range(3):
            waiting = socket.socket()
            self.addCleanup(waiting.close)
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.77", port))
        return "127.0.0.77"

    async def connect(self, names: NamedReactor, port: int, timeout: float = 30.0) -> str:
        connecting = connector.connect(names, "app", port, self.factory, timeout)
        host: str = await self.factory.done
        # Told from within buildProtocol, when nothing can be closed yet.
        reactor.callLater(0, connecting.disconnect)
        await self.factory.lost
        return host

    async def test_other_family(self) -> None:
        """An app on ``::1`` alone is reached by a name that is ``127.0.0.1`` too, and the other way round."""
        for host in ("::1", "127.0.0.1"):
            self.factory = Connecting()
            port = self.listen(host)
            self.assertEqual(await self.connect(NamedReactor(["127.0.0.1", "::1"]), port), host)
            self.assertEqual(self.factory.made, 1)

    async def test_every_address(self) -> None:
        """Of many addresses, of which all but the last refuse, the last one is used."""
        port = self.listen("127.0.0.1")
        dead = [f"127.0.0.{number}" for number in range(2, 8)]
        self.assertEqual(await self.connect(NamedReactor([*dead, "127.0.0.1"]), port), "127.0.0.1")

    async def test_silent_address(self) -> None:
        """One that says nothing does not keep the next one waiting until the deadline."""
        port = self.listen("127.0.0.1")
        hole = self.black_hole(port)
        self.assertEqual(await self.connect(NamedReactor([hole, "127.0.0.1"]), port), "127.0.0.1")

    async def test_short_deadline(self) -> None:
        """Also within a deadline that is shorter than the usual pause."""
        port = self.listen("127.0.0.1")
        hole = self.black_hole(port)
        self.assertEqual(await self.connect(NamedReactor([hole, "127.0.0.1"]), port, 0.2), "127.0.0.1")

    async def test_none(self) -> None:
        """Where all refuse, that is the error; where one says nothing, it is none in time."""
        with self.assertRaises(ConnectionRefusedError):
            await self.connect(NamedReactor(["127.0.0.1", "::1"]), 1)
        self.factory = Connecting()
        hole = self.black_hole(port := self.listen("127.0.0.1"))
        with self.assertRaises(TimeoutError):
            await self.connect(NamedReactor([hole]), port, 0.1)

    async def test_unknown(self) -> None:
        """A name without addresses, or of which nobody tells, fails in words."""
        with self.assertRaisesRegex(DNSLookupError, "the name app is not known"):
            await self.connect(NamedReactor([]), 1)
        self.factory = Connecting()
        with self.assertRaisesRegex(DNSLookupError, "the name app could not be looked up in 0.05 s"):
            await self.connect(NamedReactor(None), 1, 0.05)

    async def test_given_up(self) -> None:
        """Given up while looking up, or while connecting, it is told once."""
        connecting = connector.connect(NamedReactor(None), "app", 1, self.factory, 30)
        connecting.disconnect()
        connecting.disconnect()
        await self.assertFailure(self.factory.done, UserError)
        self.factory = Connecting()
        hole = self.black_hole(port := self.listen("127.0.0.1"))
        connector.connect(NamedReactor([hole]), "app", port, self.factory, 30).disconnect()
        await self.assertFailure(self.factory.done, UserError)

    async def test_rules(self) -> None:
        """Nobody is connected to at an address that is refused, named or not; of several, those that are not are."""
        rules = AddressRules()
        for host, found in (("169.254.169.254", []), ("0xa9fea9fe", []), ("app", ["169.254.169.254", "fe80::1"])):
            self.factory = Connecting()
            connector.connect(NamedReactor(found), host, 80, self.factory, 30, rules)
            self.assertFalse(self.factory.done.called, "told before the connector was given")
            error = await self.assertFailure(self.factory.done, AddressRefused)
            self.assertIn("--allow_addresses", str(error))
        self.factory = Connecting()
        port = self.listen("127.0.0.1")
        connecting = connector.connect(
            NamedReactor(["169.254.169.254", "127.0.0.1"]), "app", port, self.factory, 30, rules
        )
        self.assertEqual(await self.factory.done, "127.0.0.1")
        reactor.callLater(0, connecting.disconnect)
        await self.factory.lost

    async def test_endpoint(self) -> None:
        """The same as an endpoint, which can be cancelled."""
        port = self.listen("::1")
        made: Any = await endpoint(NamedReactor(["127.0.0.1", "::1"]), "app", port).connect(Server())
        self.assertEqual(made.transport.getPeer().host, "::1")
        made.transport.loseConnection()
        await made.over
        pending: Deferred[Any] = endpoint(NamedReactor(None), "app", port).connect(Server())
        pending.cancel()
        self.failureResultOf(pending)
