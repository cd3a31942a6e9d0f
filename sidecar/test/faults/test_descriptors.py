"""A daemon that may open no more files and sockets, and then may again."""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.faults.kills import PATIENCE

#: Descriptors that are left, and clients that come for them.
LEFT, CLIENTS = 12, 60


def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """An app that answers each call."""
    return 200, json.dumps({"id": json.loads(body)["id"], "result": {"ok": True}, "error": None}).encode()


class Descriptors(SynchronousTestCase):
    def setUp(self) -> None:
        if not hasattr(resource, "prlimit") or not Path("/proc/self/fd").exists():
            raise SkipTest("this system sets no limits of other processes")
        self.app = App.listen(socket.socket(), answer)
        self.addCleanup(self.app.close)
        home = Path(self.mktemp()).absolute()
        self.daemon: Daemon = running_daemon([f"--data_dir={home}", "--client_retries=0"])
        self.addCleanup(self.daemon.stop)

    def open(self) -> int:
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> int:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        got = connection.getresponse()
        self.said = got.read()
        return got.status

    def test_exhausted(self) -> None:
        """While none is left those who are connected are answered, registrations are kept, a call that needs a
        connection fails and says why, the log says so; afterwards all is as ever."""
        known = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)
        self.addCleanup(known.close)
        node = json.dumps({"name": "say", "nodes": [{"id": "say-1", "address": f"127.0.0.1:{self.app.port}"}]})
        self.assertEqual(self.ask(known, "POST", "/registry", node), 200)
        call = json.dumps({"service": "say", "method": "A.B", "request": {}})
        limit = resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE)
        before = self.open()
        resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (before + LEFT, limit[1]))
        clients = []
        for _ in range(CLIENTS):
            client = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=PATIENCE)
            self.addCleanup(client.close)
            clients.append(client)
        until(lambda: "No file descriptor is left" in self.daemon.output, PATIENCE)

        self.assertEqual(self.ask(known, "GET", "/health"), 200)
        self.assertEqual(self.ask(known, "POST", "/registry", node.replace("say", "other")), 200)
        self.assertIn(self.ask(known, "POST", "/rpc", call), (502, 503))
        self.assertIn(b"Too many open files", self.said)
        self.assertEqual(self.ask(known, "GET", "/registry"), 200)

        for client in clients:
            client.close()
        until(lambda: self.open() <= before, PATIENCE)
        until(lambda: self.ask(known, "POST", "/rpc", call) == 200, PATIENCE)
        resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, limit)
        self.assertEqual(self.daemon.request("GET", "/health").status, 200)
        self.assertNotIn("Traceback", self.daemon.output)
