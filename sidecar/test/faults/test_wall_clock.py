"""The machine's clock is set by two hours, both ways, under a live daemon: nothing expires and nothing stalls."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.programs import faketime
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon

#: Seconds within which what is due on a loaded machine has to have happened: far less than the two hours of the step.
PATIENCE = 60.0
TWO_HOURS = 7200


class WallClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        reason = faketime.unavailable()
        if reason:
            raise SkipTest(reason)
        self.clock = faketime.WallClock()
        self.addCleanup(self.clock.remove)
        self.clock.set_off(0)
        self.asked = 0
        self.app = App.listen(socket.socket(), self.answer)
        self.addCleanup(self.app.close)
        silent = socket.socket()
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        self.silent = silent.getsockname()[1]

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if path == "/healthy":
            self.asked += 1
            return 200, b"ok"
        return 200, json.dumps({"id": json.loads(body)["id"], "result": {"ok": True}, "error": None}).encode()

    def daemon(self, command: str) -> Daemon:
        where = f"127.0.0.1:{self.app.port}"
        daemon = running_daemon(
            [
                "--server_name=app",
                f"--server_address={where}",
                f"--healthcheck_url=http://{where}/healthy",
                "--healthcheck_interval=300ms",
                "--register_ttl=30m",
                "--register_interval=500ms",
            ],
            self.clock.environment,
            command,
        )
        self.addCleanup(daemon.stop)
        return daemon

    def soon(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"not within {PATIENCE} s: {what}")
            time.sleep(0.02)

    def register(self, daemon: Daemon, name: str, port: int, ttl: str) -> None:
        service = {"name": name, "nodes": [{"id": name, "address": f"127.0.0.1:{port}"}]}
        self.assertEqual(daemon.request("POST", f"/registry?ttl={ttl}", json.dumps(service)).status, 200)

    def known(self, daemon: Daemon, name: str) -> bool:
        return daemon.request("GET", f"/registry?service={name}").status == 200

    def call(self, daemon: Daemon, service: str, timeout: str) -> int:
        asked = {"service": service, "method": "A.B", "request": {}}
        headers = {"Content-Type": "application/json", "Timeout": timeout}
        return daemon.request("POST", "/rpc", json.dumps(asked), headers).status

    def all_is_well(self, daemon: Daemon, offset: int) -> None:
        """Dates follow the clock; leases, checks, renewals and deadlines do not notice."""
        moved = f"with the clock set by {offset} s"
        date = parsedate_to_datetime(daemon.request("GET", "/health").headers["date"]).timestamp()
        self.assertLess(abs(date - time.time() - offset), PATIENCE, "Date is no date")
        self.assertTrue(self.known(daemon, "lasting"), f"a lease of an hour ended {moved}")
        self.assertTrue(self.known(daemon, "app"), f"our own app is gone {moved}")
        asked = self.asked
        self.soon(lambda: self.asked >= asked + 3, f"checks go on {moved}")
        self.register(daemon, "brief", self.app.port, "500ms")
        self.soon(lambda: not self.known(daemon, "brief"), f"a lease of half a second ends {moved}")
        self.assertEqual(self.call(daemon, "app", "5s"), 200, moved)
        self.assertEqual(self.call(daemon, "silent", "300ms"), 504, moved)

    def stepped(self, command: str) -> None:
        daemon = self.daemon(command)
        self.soon(lambda: self.known(daemon, "app"), "the app is registered")
        self.register(daemon, "lasting", self.app.port, "1h")
        self.register(daemon, "silent", self.silent, "1h")
        for offset in (0, TWO_HOURS, 0, -TWO_HOURS, TWO_HOURS):
            self.clock.set_off(offset)
            self.all_is_well(daemon, offset)
        self.assertNotIn("Deregistering", daemon.output)
        self.assertNotIn("Traceback", daemon.output)
        daemon.signal()
        self.assertEqual(daemon.wait(), 0)

    def test_micro(self) -> None:
        """``micro sidecar`` waits by a clock that nobody sets, and dates by the one that everybody sees."""
        self.stepped("micro")

    def test_twistd(self) -> None:
        """So does ``twistd microsidecar``."""
        self.stepped("twistd")
