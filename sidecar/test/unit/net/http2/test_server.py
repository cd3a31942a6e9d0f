"""A server's HTTP/2 connection against peers that leave, flood, stall and do not read; on a Clock, without sockets."""

from __future__ import annotations

import contextlib
from typing import Any

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from sidecar.net.http.limits import HTTPLimits
from sidecar.net.http2.floods import ALLOWED, FloodMeter
from sidecar.net.http2.pieces import Http2Answer
from sidecar.net.http2.server import SLICE, Http2ServerConnection
from sidecar.net.http2.state import ClientState
from sidecar.net.http2.switch import PREFACE, SwitchFactory
from sidecar.net.memory import MemoryBudget
from sidecar.net.peers import Shares
from sidecar.net.reactor.admission import AT_ONCE
from sidecar.test.unit.net.reactor.test_admission import CountedClock
from sidecar.web.site import SidecarSite

FIELDS = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "a")]
#: Bytes that may be kept for all peers together.
BUDGET = 300_000
LIMITS = HTTPLimits(max_body=100_000, header_timeout=10, body_timeout=30, idle_timeout=75)


class Peer:
    """A client of the connection. :ivar told: every event that it was told, by type."""

    def __init__(self, site: SidecarSite, connection: Any) -> None:
        self.site = site
        self.connection = connection
        self.wire: Any = StringTransport()
        connection.makeConnection(self.wire)
        self.h2 = ClientState()
        self.h2.begin()
        self.told: list[Any] = []
        self.read_up_to = 0

    def flush(self) -> None:
        """Send what is to be sent, let the reactor turn, and hear what is said."""
        self.connection.dataReceived(self.h2.data_to_send())
        self.hear()

    def hear(self) -> None:
        clock: Any = self.site.clock
        clock.advance(0)
        data = self.wire.value()[self.read_up_to :]
        self.read_up_to += len(data)
        if data:
            self.told += self.h2.receive_data(data)

    def ask(self, body: bytes = b"", end: bool = True) -> int:
        stream: int = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, FIELDS)
        self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def answered(self) -> list[int]:
        return [event.stream_id for event in self.of(h2.events.StreamEnded)]

    def goodbye(self) -> Any:
        return [event.error_code for event in self.of(h2.events.ConnectionTerminated)]


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.served: list[Deferred[Http2Answer]] = []
        self.cancelled: list[object] = []
        self.site = SidecarSite(Resource(), self.clock, LIMITS, budget=MemoryBudget(BUDGET, self.clock.seconds))

    def serve(self, headers: dict[str, str], body: bytes) -> Deferred[Http2Answer]:
        serving: Deferred[Http2Answer] = Deferred(self.cancelled.append)
        self.served.append(serving)
        return serving

    def peer(self) -> Peer:
        return Peer(self.site, Http2ServerConnection(self.site, self.serve, LIMITS.max_body))

    def answer(self, number: int, body: bytes = b"") -> None:
        self.served[number].callback(Http2Answer([(":status", "200")], body, [("grpc-status", "0")]))

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4))


class Turns(SynchronousTestCase):
    """Where more is asked than one turn has time for."""

    def setUp(self) -> None:
        self.clock = CountedClock()
        self.site: Any = SidecarSite(Resource(), self.clock, LIMITS)
        self.served: list[bytes] = []
        self.overloaded: Any = lambda fields: Http2Answer([(":status", "200")], b"", [("grpc-status", "14")])

    def serve(self, headers: dict[str, str], body: bytes) -> Deferred[Http2Answer]:
        self.served.append(body)
        return succeed(Http2Answer([(":status", "200")], b"", [("grpc-status", "0")]))

    def peer(self) -> Peer:
        return Peer(self.site, Http2ServerConnection(self.site, self.serve, LIMITS.max_body, None, self.overloaded))

    def statuses(self, peer: Peer) -> list[str]:
        peer.hear()
        return [dict(event.headers).get("grpc-status", "") for event in peer.of(h2.events.ResponseReceived)]

    def test_share(self) -> None:
        """As many are served at once as a turn has time for, by all connections together, and the rest in order."""
        peers = [self.peer(), self.peer()]
        self.clock.next_turn()
        for number in range(2 * AT_ONCE):
            peers[number % 2].ask(b"%d" % number)
        self.assertEqual(len(self.served), AT_ONCE)
        self.clock.next_turn()
        self.assertEqual(self.served, [b"%d" % number for number in range(2 * AT_ONCE)])
        self.assertEqual([self.statuses(peer) for peer in peers], 2 * [AT_ONCE * ["0"]])
        self.assertEqual(self.site.in_flight, 0)

    def test_too_long(self) -> None:
        """Who waited for too long is told in the words of those who serve, or by a reset."""
        for overloaded in (self.overloaded, None):
            self.overloaded = overloaded
            peer = self.peer()
            self.clock.next_turn()
            for _ in range(AT_ONCE + 1):
                peer.ask(b"x")
            self.clock.next_turn(LIMITS.queue_timeout + 1)
            told = self.statuses(peer)
            resets = [event.error_code for event in peer.of(h2.events.StreamReset)]
            if self.overloaded is not None:
                self.assertEqual((told[-1], resets), ("14", []))
            else:
                self.assertEqual((len(told), resets), (AT_ONCE, [h2.errors.ErrorCodes.ENHANCE_YOUR_CALM]))
        self.assertEqual((len(self.served), self.site.in_flight), (2 * AT_ONCE, 0))

    def test_left(self) -> None:
        """One whose peer left, or took it back, while it waited is never served."""
        for leave in ("reset", "hang up"):
            peer = self.peer()
            self.clock.next_turn()
            for _ in range(AT_ONCE):
                peer.ask()
            last = peer.ask(b"late")
            if leave == "reset":
                peer.h2.reset_stream(last)
                peer.flush()
            else:
                peer.connection.connectionLost(Failure(ConnectionDone()))
            self.clock.next_turn()
        self.assertNotIn(b"late", self.served)
        self.assertEqual((len(self.site.admission), self.site.in_flight), (0, 0))


class Leaving(Case):
    def test_drain(self) -> None:
        """What is under way when the site drains is answered, what is asked after that is refused in so many words, and
        the connection is closed after the last answer."""
        peer = self.peer()
        peer.ask()
        peer.ask()
        drained = self.site.drain(60)
        self.wait(1)
        self.assertFalse(peer.wire.disconnecting)
        self.answer(0, b"x" * 70_000)
        self.answer(1)
        self.wait(1)
        self.assertTrue(peer.wire.disconnecting)
        self.successResultOf(drained)
        data = peer.wire.value()
        self.assertIn(b"x" * 16_000, data)
        self.assertEqual((self.site.in_flight, self.site.budget.total), (0, 0))

    def test_idle(self) -> None:
        """A connection that has nothing under way when the site drains is told goodbye and closed."""
        peer = self.peer()
        peer.ask()
        self.answer(0)
        self.site.drain(60)
        self.wait(1)
        peer.hear()
        self.assertEqual(peer.goodbye(), [h2.errors.ErrorCodes.NO_ERROR])
        self.assertTrue(peer.wire.disconnecting)

    def test_refused_after_goodbye(self) -> None:
        """A request that crosses our goodbye is refused so that the peer knows that it was not looked at."""
        peer = self.peer()
        peer.ask()
        peer.connection.close_if_idle()
        peer.ask()  # it has not heard yet
        self.assertEqual([event.error_code for event in peer.of(h2.events.StreamReset)], [7])
        self.answer(0)
        self.assertEqual(len(self.served), 1)
        self.assertTrue(peer.wire.disconnecting)

    def test_peer_says_goodbye(self) -> None:
        """A peer that says goodbye gets what it asked for before."""
        peer = self.peer()
        peer.ask()
        peer.h2.close_connection()
        peer.connection.dataReceived(peer.h2.data_to_send())
        before = len(peer.wire.value())
        self.answer(0, b"late")
        self.assertIn(b"late", peer.wire.value()[before:])
        self.assertTrue(peer.wire.disconnecting)

    def test_lost(self) -> None:
        """A peer that goes away has what it asked for cancelled, and is not counted any more."""
        peer = self.peer()
        peer.ask()
        peer.ask(b"half" * 500, end=False)
        self.assertEqual((self.site.in_flight, self.site.budget.total), (2, 2000))
        peer.connection.connectionLost()
        self.assertEqual((self.site.in_flight, self.site.budget.total, self.site.connections), (0, 0, 0))
        self.assertEqual(len(self.cancelled), 1)


class Reserve(Case):
    def test_not_by_http2(self) -> None:
        """Where there are as many connections as may be, one more that could ask again and again is refused; those
        kept in reserve are for who asks once."""
        self.peer()
        self.site.full = True
        refused = self.peer()
        self.assertTrue(refused.wire.disconnecting)
        self.assertIn(b"too many connections", refused.wire.value())


class Floods(Case):
    def assert_closed(self, peer: Peer, why: bytes) -> None:
        self.assertTrue(peer.wire.disconnecting)
        self.assertIn(why, peer.wire.value())

    def flood(self, peer: Peer, frame: bytes, count: int) -> None:
        peer.flush()
        for _ in range(count):
            peer.connection.dataReceived(frame)
        self.clock.advance(0)

    def test_resets(self) -> None:
        """Requests that are asked and reset at once end the connection before long, and each one's call."""
        peer = self.peer()
        sent = 0
        while not peer.wire.disconnecting:
            stream = peer.h2.get_next_available_stream_id()
            peer.h2.send_headers(stream, FIELDS, end_stream=True)
            peer.h2.reset_stream(stream)
            peer.connection.dataReceived(peer.h2.data_to_send())
            self.clock.advance(0)
            sent += 1
            self.assertLess(sent, 1000)
        self.assert_closed(peer, b"too many resets")
        self.assertEqual(len(self.cancelled), len(self.served))
        self.assertEqual(self.site.in_flight, 0)

    def test_cancelling_client(self) -> None:
        """A client that cancels now and then among calls that it waits for goes on."""
        peer = self.peer()
        for _ in range(2 * int(ALLOWED["resets"][0])):
            stream = peer.ask()
            peer.h2.reset_stream(stream)
            peer.ask()
            self.answer(-1)
        self.assertFalse(peer.wire.disconnecting)

    def test_pings(self) -> None:
        """Pings without end end the connection."""
        peer = self.peer()
        self.flood(peer, b"\0\0\x08\x06\0\0\0\0\0" + b"x" * 8, 2000)
        self.assert_closed(peer, b"too many control frames")

    def test_settings(self) -> None:
        """So do settings."""
        peer = self.peer()
        self.flood(peer, b"\0\0\0\x04\0\0\0\0\0", 2000)
        self.assert_closed(peer, b"too many control frames")

    def test_empty_frames(self) -> None:
        """So do frames without anything in them."""
        peer = self.peer()
        peer.ask(end=False)
        self.flood(peer, b"\0\0\0\0\0\0\0\0\x01", 500)
        self.assert_closed(peer, b"too many empty frames")

    def test_measuring_client(self) -> None:
        """A client that pings for each piece of each answer, as grpc-go does to measure the path, goes on."""
        peer = self.peer()
        for number in range(int(ALLOWED["control frames"][0])):
            peer.ask()
            self.answer(number, b"x")
            peer.h2.ping(b"measured")
            peer.h2.increment_flow_control_window(1)
            peer.flush()
        self.assertFalse(peer.wire.disconnecting)

    def test_slices(self) -> None:
        """Of many small frames in one piece few are looked at in one turn of the reactor, and then others' are."""
        peer = self.peer()
        peer.flush()
        before = len(peer.wire.value())
        pings = 2 * SLICE // 17
        peer.connection.dataReceived((b"\0\0\x08\x06\0\0\0\0\0" + b"x" * 8) * pings)
        self.assertLessEqual(len(peer.wire.value()) - before, SLICE)
        self.assertEqual(peer.wire.producerState, "paused")
        self.clock.advance(0)
        self.assertEqual(len(peer.wire.value()) - before, 17 * pings)
        self.assertEqual(peer.wire.producerState, "producing")

    def test_peer_that_does_not_read(self) -> None:
        """Nothing more is looked at of a peer that does not take what we say, and in the end it is cut off."""
        peer = self.peer()
        peer.flush()
        peer.wire.producer.pauseProducing()
        peer.ask()
        self.assertEqual(self.served, [])
        peer.wire.producer.resumeProducing()
        self.assertEqual(len(self.served), 1)
        peer.wire.producer.pauseProducing()
        self.wait(LIMITS.idle_timeout + 1)
        self.assertTrue(peer.wire.disconnected)


class Bounds(Case):
    def test_body(self) -> None:
        """A body that is too large has its stream reset; the connection stays."""
        peer = self.peer()
        stream = peer.ask(end=False)
        for _ in range(7):
            peer.h2.send_data(stream, b"x" * 16_000)
            peer.flush()
        self.assertEqual([event.error_code for event in peer.of(h2.events.StreamReset)], [11])
        peer.ask()
        self.assertEqual((len(self.served), self.site.budget.total), (1, 0))

    def test_bodies_together(self) -> None:
        """Half bodies of all connections together are bounded."""
        peers = [self.peer() for _ in range(5)]
        for peer in peers:
            stream = peer.ask(end=False)
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                for _ in range(5):
                    peer.h2.send_data(stream, b"x" * 16_000)
                    peer.flush()
        self.assertLessEqual(self.site.budget.total, BUDGET)
        for peer in peers:
            peer.hear()
        self.assertEqual(sum(len(peer.of(h2.events.StreamReset)) for peer in peers), 2)

    def test_body_that_stalls(self) -> None:
        """A request that does not end is reset in time."""
        peer = self.peer()
        peer.ask(b"half", end=False)
        self.wait(LIMITS.body_timeout + 2)
        peer.hear()
        self.assertEqual(len(peer.of(h2.events.StreamReset)), 1)
        self.assertEqual((self.site.in_flight, self.site.budget.total), (0, 0))

    def test_closed_window(self) -> None:
        """An answer for which the peer keeps its window closed is counted, and given up in time; so is what is beyond
        the bound of all connections together."""
        peer = self.peer()
        peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        peer.flush()
        for number in range(4):
            peer.ask()
            self.answer(number, b"x" * 90_000)
        peer.hear()
        self.assertEqual((self.site.budget.total, len(peer.of(h2.events.StreamReset))), (270_000, 1))
        self.wait(LIMITS.idle_timeout + 2)
        self.assertEqual((self.site.in_flight, self.site.budget.total), (0, 0))

    def test_window_opens(self) -> None:
        """An answer goes on as the peer's window allows."""
        peer = self.peer()
        peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
        peer.flush()
        stream = peer.ask()
        self.answer(0, b"x" * 25)
        for _ in range(2):
            peer.hear()
            self.assertEqual(peer.answered, [])
            peer.h2.increment_flow_control_window(10, stream)
            peer.flush()
        self.assertEqual(peer.answered, [stream])
        self.assertEqual(b"".join(event.data for event in peer.of(h2.events.DataReceived)), b"x" * 25)

    def test_never_asked(self) -> None:
        """A connection on which nothing is asked is closed after the time for a header; one that asked, after its idle
        time."""
        silent, idle = self.peer(), self.peer()
        idle.ask()
        self.answer(0)
        self.wait(LIMITS.header_timeout + 1)
        self.assertEqual((silent.wire.disconnecting, idle.wire.disconnecting), (True, False))
        self.wait(LIMITS.idle_timeout)
        self.assertTrue(idle.wire.disconnecting)

    def test_too_many_connections(self) -> None:
        """One connection too many is told so, where none of the others idles."""
        self.site = SidecarSite(Resource(), self.clock, HTTPLimits(max_connections=1))
        self.peer().ask()
        self.site.admits()
        peer = self.peer()
        self.assertTrue(peer.wire.disconnecting)
        self.assertIn(b"too many connections", peer.wire.value())

    def test_share(self) -> None:
        """A peer with as many connections as one may have is told by which flag, and of requests beyond its share each
        is UNAVAILABLE, gRPC's 503, with what was reached; one that is answered makes room."""
        self.site = SidecarSite(Resource(), self.clock, HTTPLimits(shares=Shares(connections=1, requests=2)))
        peer = self.peer()
        for _ in range(3):
            peer.ask()
        told = dict(peer.of(h2.events.ResponseReceived)[-1].headers)
        self.assertEqual((len(self.served), told["grpc-status"], told["retry-after"]), (2, "14", "1"))
        self.assertIn("--max_peer_requests", told["grpc-message"])
        self.answer(0)
        peer.ask()
        self.assertEqual(len(self.served), 3)
        other = self.peer()
        self.assertIn(b"--max_peer_connections", other.wire.value())
        for each in (peer, other):
            each.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.site._peers), 0)


class Switched(Case):
    def connect(self) -> Any:
        connection: Any = SwitchFactory(
            self.site, lambda: Http2ServerConnection(self.site, self.serve, LIMITS.max_body)
        ).buildProtocol(None)
        connection.makeConnection(StringTransport())
        return connection

    def test_silence(self) -> None:
        """A connection on which nothing comes, or only the beginning of a greeting, counts and is cut in time."""
        for said in (b"", PREFACE[:10]):
            connection = self.connect()
            if said:
                connection.dataReceived(said)
            self.assertEqual(self.site.connections, 1)
            self.wait(LIMITS.header_timeout + 1)
            self.assertTrue(connection.transport.disconnected)
            connection.connectionLost()
            self.assertEqual(self.site.connections, 0)

    def test_one_count(self) -> None:
        """Connections of both protocols are the site's, from before they are told apart."""
        first, second = self.connect(), self.connect()
        first.dataReceived(PREFACE)
        second.dataReceived(b"GET / HTTP/1.1\r\n")
        self.assertEqual(self.site.connections, 2)
        for connection in (first, second):
            connection.connectionLost()
        self.assertEqual(self.site.connections, 0)


class Meter(SynchronousTestCase):
    def test_table(self) -> None:
        """Each kind has its burst, comes back with time, and with each request that is answered."""
        for kind, (burst, rate, each) in ALLOWED.items():
            meter = FloodMeter(0)
            self.assertEqual([meter.admits(kind, 0) for _ in range(int(burst) + 1)], [True] * int(burst) + [False])
            meter = FloodMeter(0)
            for _ in range(int(burst)):
                meter.admits(kind, 0)
            meter.answered()
            self.assertEqual(sum(meter.admits(kind, 0) for _ in range(100)), each)
            self.assertEqual(sum(meter.admits(kind, 100 + burst) for _ in range(int(burst + rate))), burst)
