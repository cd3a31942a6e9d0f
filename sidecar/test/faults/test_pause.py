"""A daemon that stands still for a while, as after SIGSTOP or in a laptop that is closed."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.faults.kills import PATIENCE, names

#: Seconds of a lease, and of standing still: longer than the lease.
LEASE, STILL = 10, 12


def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """An app that is well."""
    return 200, b"ok"


def request(method: str, path: str, body: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class Pauses(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App.listen(socket.socket(), answer)
        self.addCleanup(self.app.close)
        where = f"127.0.0.1:{self.app.port}"
        self.daemon: Daemon = running_daemon(
            [
                "--server_name=app",
                f"--server_address={where}",
                f"--healthcheck_url=http://{where}/healthy",
                "--healthcheck_interval=300ms",
                f"--register_ttl={LEASE}s",
            ]
        )
        self.addCleanup(self.daemon.stop)

    def connected(self) -> socket.socket:
        """A client that the daemon has accepted."""
        sock = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=PATIENCE)
        self.addCleanup(sock.close)
        return sock

    @staticmethod
    def heard(sock: socket.socket) -> bytes:
        """All that comes until the daemon closes."""
        said = b""
        while piece := sock.recv(65536):
            said += piece
        return said

    def test_leases(self) -> None:
        """Leases that ran out meanwhile are there when it goes on, their owners renew them, our own healthy app never
        leaves; and leases that nobody renews end then."""
        until(lambda: "app" in names(self.daemon), PATIENCE)
        bodies = {
            name: json.dumps({"name": name, "nodes": [{"id": f"{name}-1", "address": "127.0.0.1", "port": 9}]})
            for name in ("renewed", "left")
        }
        for name, body in bodies.items():
            self.assertEqual(self.daemon.request("POST", f"/registry?ttl={LEASE}s", body).status, 200, name)
        look, renewal = self.connected(), self.connected()
        self.daemon.signal(signal.SIGSTOP)
        time.sleep(STILL)
        # They wait for it, as whatever comes first does when it goes on: no test can be late for that.
        look.sendall(request("GET", "/registry"))
        renewal.sendall(request("POST", "/registry?ttl=1h", bodies["renewed"]))
        self.daemon.signal(signal.SIGCONT)
        listed = self.heard(look)
        self.assertEqual(
            {each["name"] for each in json.loads(listed.partition(b"\r\n\r\n")[2])}, {"app", "left", "renewed"}
        )
        self.assertTrue(self.heard(renewal).startswith(b"HTTP/1.1 200 "))
        until(lambda: "left" not in names(self.daemon), PATIENCE)
        self.assertEqual(names(self.daemon), {"app", "renewed"})
        entries = self.daemon.request("GET", "/journal?service=app").json
        self.assertEqual([one for one in entries if one["action"] == "delete"], [])

    def test_again(self) -> None:
        """Stopped many times in a row it answers all that came meanwhile."""
        for turn in range(10):
            clients = [self.connected() for _ in range(20)]
            self.daemon.signal(signal.SIGSTOP)
            for client in clients:
                client.sendall(request("GET", "/health"))
            self.daemon.signal(signal.SIGCONT)
            for client in clients:
                self.assertTrue(self.heard(client).startswith(b"HTTP/1.1 200 "), turn)
