"""Clients and nodes that are slow, or gone without a word."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.clients import blocking
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.namespace import Namespace, unavailable
from sidecar.test.faults.kills import PATIENCE

CLIENTS = 30
#: An address that vanishes with all that is connected to it.
GONE = "10.99.99.99"


def descriptors(daemon: Daemon) -> int:
    """How many it has open."""
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """A node that answers."""
    return 200, json.dumps({"id": json.loads(body)["id"], "result": {"ok": True}, "error": None}).encode()


class Slow(SynchronousTestCase):
    def setUp(self) -> None:
        if not Path("/proc/self/fd").exists():
            raise SkipTest("this system does not tell which files are open")

    def daemon(self, *flags: str) -> Daemon:
        daemon = running_daemon(flags)
        self.addCleanup(daemon.stop)
        return daemon

    def connected(self, daemon: Daemon) -> socket.socket:
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", daemon.port))
        return sock

    def test_writers(self) -> None:
        """Who sends a byte now and then gets 408 in the end, and keeps nobody else waiting."""
        daemon = self.daemon("--header_timeout=1s", "--body_timeout=1s")
        before = descriptors(daemon)
        heard: list[bytes] = []

        def trickle(sock: socket.socket, begin: bytes) -> None:
            ended = threading.Event()

            def listen() -> None:
                said = b""
                try:
                    while piece := sock.recv(4096):
                        said += piece
                except OSError:
                    pass
                heard.append(said)
                ended.set()

            threading.Thread(target=listen, daemon=True).start()
            try:
                sock.sendall(begin)
                while not ended.wait(0.1):
                    sock.sendall(b"x")
            except OSError:
                ended.wait(PATIENCE)

        head = b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        beginnings = (b"", head, head + b"Content-Length: 100000\r\n\r\n")
        threads = [
            threading.Thread(target=trickle, args=(self.connected(daemon), beginnings[number % 3]), daemon=True)
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.assertEqual(daemon.request("GET", "/health").status, 200)
            threads[-1].join(0.1)
        # What was answered may be lost with a connection to which more was sent.
        said = {each[:12] for each in heard}
        self.assertIn(b"HTTP/1.1 408", said)
        self.assertLessEqual(said, {b"HTTP/1.1 408", b""})
        until(lambda: descriptors(daemon) <= before, PATIENCE)

    def test_readers(self) -> None:
        """Who takes no answer is cut off, and costs nobody else anything; a large answer that is read comes whole."""
        daemon = self.daemon("--idle_timeout=1s", "--max_values=1000000")
        for number in range(4):
            nodes = [
                {"id": f"{number}-{one}", "address": "10.0.0.1", "port": 9, "metadata": {"x": "y" * 2000}}
                for one in range(1000)
            ]
            body = json.dumps({"name": "large", "version": str(number), "nodes": nodes})
            self.assertEqual(daemon.request("POST", "/registry", body).status, 200)
        before = descriptors(daemon)
        clients = [self.connected(daemon) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(b"GET /registry?service=large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        whole = daemon.request("GET", "/registry?service=large")
        self.assertEqual(len(whole.body), int(whole.headers["content-length"]))
        until(lambda: descriptors(daemon) <= before, PATIENCE)
        self.assertEqual(daemon.request("GET", "/health").status, 200)
        self.assertNotIn("Traceback", daemon.output)


class Vanished(SynchronousTestCase):
    def setUp(self) -> None:
        reason = unavailable()
        if reason:
            raise SkipTest(reason)
        self.space = Namespace.make()
        self.addCleanup(self.space.remove)
        self.address("add")
        self.daemon = running_daemon(
            ["--broker_ping_interval=1s", "--broker_ping_timeout=1s", "--idle_timeout=2s",
             "--client_request_timeout=2s"], prefix=self.space.prefix,
        )  # fmt: skip
        self.addCleanup(self.daemon.stop)

    def address(self, what: str) -> None:
        subprocess.run([*self.space.prefix, "ip", "address", what, f"{GONE}/32", "dev", "lo"], check=True)

    def connect(self, port: int) -> socket.socket:
        sock = self.space.socket()
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        return sock

    def connect_from_there(self, port: int) -> socket.socket:
        sock = self.space.socket()
        self.addCleanup(sock.close)
        sock.settimeout(PATIENCE)
        sock.bind((GONE, 0))
        sock.connect(("127.0.0.1", port))
        return sock

    def ask(self, method: str, path: str, body: object = None) -> int:
        data = json.dumps(body) if body is not None else None
        headers = {"Content-Type": "application/json"}
        return blocking.ask(self.connect, self.daemon.port, method, path, data, headers).status

    def test_clients(self) -> None:
        """Clients whose machine is gone are noticed, by pings or for being idle, and their places are free again."""
        before = len(os.listdir(f"/proc/{self.daemon.pid}/fd"))
        for _ in range(10):
            self.connect_from_there(self.daemon.port).sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            blocking.WebSocket.open(self.connect_from_there, self.daemon.port, "/broker?topic=t")
        listener = blocking.WebSocket.open(self.connect, self.daemon.port, "/broker?topic=t")
        self.addCleanup(listener.close)
        self.address("delete")
        self.assertEqual(self.ask("POST", "/broker?topic=t", "hello"), 200)
        self.assertIn("ImhlbGxvIg==", str(listener.receive(PATIENCE)))  # "hello"
        listener.close()
        until(lambda: len(os.listdir(f"/proc/{self.daemon.pid}/fd")) <= before, PATIENCE)
        self.assertEqual(self.ask("GET", "/health"), 200)

    def test_node(self) -> None:
        """A node whose machine is gone costs the calls that were on their way there, and then none."""
        apps = [blocking.App.listen(self.space.socket(), answer, host) for host in (GONE, "127.0.0.1")]
        for app in apps:
            self.addCleanup(app.close)
        nodes = [
            {"id": f"say-{number}", "address": host, "port": app.port}
            for number, (host, app) in enumerate(zip((GONE, "127.0.0.1"), apps, strict=True))
        ]
        self.assertEqual(self.ask("POST", "/registry", {"name": "say", "nodes": nodes}), 200)
        call = {"service": "say", "method": "A.B", "request": {}}
        self.assertEqual({self.ask("POST", "/rpc", call) for _ in range(30)}, {200})
        self.address("delete")
        statuses: list[int] = []

        def well() -> bool:
            statuses.append(self.ask("POST", "/rpc", call))
            return len(statuses) >= 20 and set(statuses[-20:]) == {200}

        until(well, PATIENCE)
        self.assertLessEqual(set(statuses), {200, 502, 504})
