"""Floods that do not end by themselves: whoever asks for something else is answered all the same."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import h2.config
import h2.connection
import h2.exceptions
from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App, WebSocket
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.process import free_port
from sidecar.test.faults.kills import PATIENCE

#: Connections that flood, and answers that others have to get meanwhile.
FLOODERS, ANSWERS = 4, 20


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def pipelined(port: int) -> None:
    """Thousands of requests in a packet, whose answers nobody reads."""
    with connect(port) as sock:
        request = b"GET /registry HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        sock.settimeout(1)
        for _ in range(10):
            sock.sendall(request * 1700)


def websocket(port: int, frames: bytes) -> None:
    sock = connect(port)
    with sock:
        WebSocket.open(lambda _: sock, port, "/broker?topic=flood")
        sock.settimeout(1)
        for _ in range(10):
            sock.sendall(frames)


def fragments(port: int) -> None:
    """A message of a byte a frame, which never ends."""
    websocket(port, b"\x02\x81\0\0\0\0x" + b"\x00\x81\0\0\0\0x" * 10_000)


def empty_fragments(port: int) -> None:
    """A message of frames that hold nothing."""
    websocket(port, b"\x02\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 10_000)


def pings(port: int) -> None:
    """Pings by the thousand."""
    websocket(port, b"\x89\x84\0\0\0\0ping" * 10_000)


def http2(port: int, act: Callable[[h2.connection.H2Connection, int], None]) -> None:
    """A connection of HTTP/2 on which ``act`` is done again and again."""
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    peer.initiate_connection()
    with connect(port) as sock:
        sock.settimeout(1)
        for number in range(1000):
            act(peer, 2 * number + 1)
            sock.sendall(peer.data_to_send())


def resets(port: int) -> None:
    """Streams that are opened and reset at once."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/foo.Foo/Get"), (":authority", "foo"),
              ("content-type", "application/grpc+json"), ("te", "trailers")]  # fmt: skip

    def act(peer: h2.connection.H2Connection, stream: int) -> None:
        peer.send_headers(stream, fields)
        peer.reset_stream(stream)

    http2(port, act)


def settings(port: int) -> None:
    """Settings that change all the time."""
    http2(port, lambda peer, stream: peer.update_settings({3: stream % 100 + 1}))


@define(eq=False)
class Flood:
    """One flood by several connections, begun anew for as long as it is to last."""

    port: int
    once: Callable[[int], None]
    times: int = 0
    _ended: threading.Event = field(factory=threading.Event)

    def run(self) -> None:
        while not self._ended.is_set():
            # It is cut off, or not read from: what it wanted to send is not taken.
            with contextlib.suppress(OSError, h2.exceptions.H2Error):
                self.once(self.port)
            self.times += 1

    def stop(self) -> None:
        self._ended.set()


class Floods(SynchronousTestCase):
    def flooded(self, daemon: Daemon, port: int, once: Callable[[int], None]) -> None:
        """While it goes on others are answered, and afterwards too; nothing is logged as unforeseen."""
        floods = [Flood(port, once) for _ in range(FLOODERS)]
        threads = [threading.Thread(target=flood.run, daemon=True) for flood in floods]
        for flood, thread in zip(floods, threads, strict=True):
            self.addCleanup(flood.stop)
            thread.start()
        answered = 0
        while answered < ANSWERS or not all(flood.times for flood in floods):
            self.assertEqual(daemon.request("GET", "/health").status, 200)
            answered += 1
        for flood in floods:
            flood.stop()
        for thread in threads:
            thread.join(PATIENCE)
        until(lambda: daemon.request("GET", "/registry").status == 200, PATIENCE)
        for alarm in ("Traceback", "Unhandled", "Incident"):
            self.assertNotIn(alarm, daemon.output)

    def test_api(self) -> None:
        """Of the API: pipelined requests, fragments of a byte and of none, pings."""
        for once in (pipelined, fragments, empty_fragments, pings):
            with running_daemon(["--access_log=off"]) as daemon:
                self.flooded(daemon, daemon.port, once)

    def test_inbound(self) -> None:
        """Of the port for go-micro callers: requests in a row, streams of HTTP/2 that are reset, settings."""
        app = App.listen(socket.socket(), lambda path, headers, body: (200, b"{}"))
        self.addCleanup(app.close)
        for once in (pipelined, resets, settings):
            inbound = free_port()
            flags = [f"--server_address=127.0.0.1:{app.port}", f"--server_inbound=127.0.0.1:{inbound}"]
            flags += ["--server_name=foo", "--server_protocol=http", "--access_log=off"]
            with running_daemon(flags) as daemon:
                self.flooded(daemon, inbound, once)
