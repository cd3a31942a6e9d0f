"""Two nodes, one of them ill: callers are spared what can be spared, and told what cannot."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from attrs import define, field, frozen
from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon

#: Callers at a time.
AT_ONCE = 16
#: Seconds that a call may take, and how much later on a loaded machine its answer may be read.
DEADLINE = 2.0
SLACK = 5.0


@frozen
class Called:
    """How a call ended. :ivar seconds: that it took."""

    status: int
    body: bytes
    seconds: float


def well(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """A node that answers."""
    return 200, json.dumps({"id": json.loads(body)["id"], "result": {"ok": True}, "error": None}).encode()


@define(eq=False)
class Leaving:
    """A node that answers once on each connection, until it is gone without a word: its kernel drops what comes."""

    _socket: socket.socket
    _gone: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None
    _filling: list[socket.socket] = field(factory=list)

    @classmethod
    def listen(cls) -> Leaving:
        sock = socket.create_server(("127.0.0.1", 0))
        sock.settimeout(0.1)
        made = cls(sock)
        made._thread = threading.Thread(target=made._serve, daemon=True)
        made._thread.start()
        return made

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def leave(self) -> None:
        """Accept nothing more, and have the queue of new connections full."""
        self._gone.set()
        assert self._thread is not None
        self._thread.join()
        self._socket.listen(0)
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))
            self._filling.append(one)

    def close(self) -> None:
        self._gone.set()
        for each in (*self._filling, self._socket):
            each.close()

    def _serve(self) -> None:
        while not self._gone.is_set():
            try:
                peer, _ = self._socket.accept()
            except TimeoutError:
                continue
            with peer, peer.makefile("rb") as file:
                headers = dict(
                    line.decode().strip().lower().split(": ", 1)
                    for line in iter(file.readline, b"\r\n")
                    if b": " in line
                )
                _, body = well("", {}, file.read(int(headers["content-length"])))
                head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
                peer.sendall(head.encode() + body)


class NodesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App.listen(socket.socket(), well)
        self.addCleanup(self.app.close)
        self.here = threading.local()

    def ill(self, listening: bool) -> int:
        """The port of a node that refuses connections, or takes them and never answers."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.bind(("127.0.0.1", 0))
        if listening:
            sock.listen(1024)
        port: int = sock.getsockname()[1]
        return port

    def daemon(self, *nodes: int, flags: tuple[str, ...] = ()) -> Daemon:
        daemon = running_daemon(flags)
        self.addCleanup(daemon.stop)
        body = {"name": "say", "nodes": [{"id": f"say-{port}", "address": f"127.0.0.1:{port}"} for port in nodes]}
        self.assertEqual(daemon.request("POST", "/registry", json.dumps(body)).status, 200)
        return daemon

    def calls(self, daemon: Daemon, count: int) -> list[Called]:
        with ThreadPoolExecutor(AT_ONCE) as callers:
            return list(callers.map(lambda _: self.call(daemon), range(count)))

    def call(self, daemon: Daemon) -> Called:
        # A connection for each caller: a thousand new ones would test the kernel, not the sidecar.
        connection = getattr(self.here, "connection", None)
        if connection is None:
            connection = self.here.connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        began = time.monotonic()
        connection.request("POST", "/rpc", b"service=say&method=Say.Hello&request={}")
        answer = connection.getresponse()
        body = answer.read()
        return Called(answer.status, body, time.monotonic() - began)

    def test_one_refuses(self) -> None:
        """One node of two refuses connections: of 1,000 calls none fails."""
        daemon = self.daemon(self.ill(listening=False), self.app.port)
        called = self.calls(daemon, 1000)
        self.assertEqual([one for one in called if one.status != 200], [])

    def test_one_hangs(self) -> None:
        """One of two hangs: its calls fail with 504 in the deadline and say so; the others are untouched."""
        hanging = self.ill(listening=True)
        daemon = self.daemon(hanging, self.app.port, flags=(f"--client_request_timeout={DEADLINE}s",))
        called = self.calls(daemon, 64)
        self.assertEqual({one.status for one in called}, {200, 504})
        for one in called:
            if one.status == 200:
                self.assertLess(one.seconds, DEADLINE)
                continue
            self.assertGreater(one.seconds, DEADLINE * 0.9)
            self.assertLess(one.seconds, DEADLINE + SLACK)
            fault = json.loads(one.body)
            self.assertEqual((fault["code"], fault["status"]), (504, "Gateway Timeout"))
            self.assertIn(f"127.0.0.1:{hanging}", fault["detail"])

    def test_one_becomes_a_black_hole(self) -> None:
        """A node that always connected at once and answers nothing any more is left for the other one; no call fails.
        (How soon it is left is tried on a clock of its own.)"""
        node = Leaving.listen()
        self.addCleanup(node.close)
        daemon = self.daemon(node.port, self.app.port)
        while not self.met(daemon, node.port):
            pass
        node.leave()
        port = node.port
        left = None
        for _ in range(200):
            answer = daemon.request("POST", "/rpc?explain=1", b"service=say&method=Say.Hello&request={}")
            self.assertEqual(answer.status, 200, answer.body)
            first = json.loads(answer.headers["micro-receipt"])["attempts"][0]
            if first["address"].endswith(f":{port}") and first["outcome"] != "answered":
                left = first
                break
        assert left is not None, "no call met it"
        self.assertIn("no connection", left["next"])

    def met(self, daemon: Daemon, port: int) -> bool:
        """Whether a call is answered by the node at ``port``."""
        answer = daemon.request("POST", "/rpc?explain=1", b"service=say&method=Say.Hello&request={}")
        last = json.loads(answer.headers["micro-receipt"])["attempts"][-1]
        return bool(last["address"] == f"127.0.0.1:{port}")

    def test_both_refuse(self) -> None:
        """Both refuse: 502, and the detail names both and what they did."""
        ports = self.ill(listening=False), self.ill(listening=False)
        called = self.call(self.daemon(*ports))
        self.assertEqual(called.status, 502)
        detail = json.loads(called.body)["detail"]
        for port in ports:
            self.assertIn(f"127.0.0.1:{port}", detail)
        self.assertIn("refused", detail)
