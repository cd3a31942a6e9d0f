"""Draining, maintenance and readiness, by their routes and by ``micro``."""

from __future__ import annotations

import json
import signal
import socket
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, run, running_daemon


def answer(path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
    """An app that takes as long as it is told to."""
    asked = json.loads(body)
    threading.Event().wait(asked["params"][0].get("seconds", 0))
    return 200, json.dumps({"id": asked["id"], "result": {"ok": True}, "error": None}).encode()


class Operations(SynchronousTestCase):
    timeout = 120

    def setUp(self) -> None:
        self.app = App.listen(socket.socket(), answer)
        self.addCleanup(self.app.close)

    def daemon(self, *flags: str) -> Daemon:
        app = f"--server_address=127.0.0.1:{self.app.port}"
        daemon = running_daemon(["--server_name=foo", app, *flags])
        self.addCleanup(daemon.stop)
        until(lambda: self.known(daemon), 30)
        return daemon

    @staticmethod
    def known(daemon: Daemon) -> bool:
        return daemon.request("GET", "/registry?service=foo").status == 200

    def micro(self, daemon: Daemon, *words: str) -> tuple[int, str]:
        done = run("micro", [f"--proxy_address=127.0.0.1:{daemon.port}", *words])
        return done.returncode, (done.stdout + done.stderr).decode()

    def test_maintenance(self) -> None:
        """An app in maintenance is out of the registry with its reason, not ready, told in /health, and back in."""
        daemon = self.daemon()
        code, said = self.micro(daemon, "maint", "on", "foo", "--reason=new disk")
        self.assertEqual((code, said), (0, "foo is kept out: new disk\n"))
        until(lambda: not self.known(daemon), 30)
        self.assertEqual(daemon.request("GET", "/health/ready").status, 503)
        self.assertEqual(daemon.request("GET", "/health/live").status, 200)
        self.assertIn("new disk", daemon.request("GET", "/health").body.decode())
        self.assertEqual(daemon.request("GET", "/maintenance").json, {"away": {"foo": "new disk"}})
        self.assertEqual(self.micro(daemon, "ready")[0], 4)
        self.assertEqual(self.micro(daemon, "ready", "--wait=0.5")[0], 124)
        self.assertEqual(self.micro(daemon, "maint", "off"), (0, "no app is kept out\n"))
        self.assertEqual(self.micro(daemon, "ready", "--wait=30s", "foo"), (0, "ready\n"))
        until(lambda: self.known(daemon), 30)

    def test_drain(self) -> None:
        """Out of the registry at once; back when calls under way are over, or 124 when they are not."""
        daemon = self.daemon()
        answers: list[int] = []
        call = json.dumps({"service": "foo", "method": "A.B", "request": {"seconds": 3}})

        def ask() -> None:
            answers.append(daemon.request("POST", "/rpc", call, {"Content-Type": "application/json"}).status)

        caller = threading.Thread(target=ask)
        caller.start()
        until(lambda: "in_flight" in str(daemon.request("GET", "/metrics").body) and self.under_way(daemon), 30)
        code, said = self.micro(daemon, "drain", "--timeout=0.3s")
        self.assertEqual(code, 124, said)
        self.assertIn("still under way", said)
        self.assertFalse(self.known(daemon))
        code, said = self.micro(daemon, "drain")
        caller.join()
        self.assertEqual((code, answers), (0, [200]), said)
        self.assertIn("safe to stop", said)

    @staticmethod
    def under_way(daemon: Daemon) -> bool:
        return b"microsidecar_calls_in_flight 1.0" in daemon.request("GET", "/metrics").body

    def test_drain_delay(self) -> None:
        """At the stop the app leaves first, and the port stays open for the news to spread."""
        daemon = self.daemon("--drain_delay=2s")
        daemon.signal()
        until(lambda: "Deregistering foo-" in daemon.output, 30)
        self.assertEqual(daemon.request("GET", "/registry").status, 200)
        self.assertNotIn("No longer listening", daemon.output)
        self.assertEqual(daemon.wait(), 0)

    def test_unknown_app(self) -> None:
        """An app that is not there is a 404 that names those there are, exit code 3."""
        daemon = self.daemon()
        for words in (("drain", "bar"), ("maint", "on", "bar"), ("ready", "bar")):
            code, said = self.micro(daemon, *words)
            self.assertEqual(code, 3, said)
            self.assertIn("foo", said)

    def test_maintenance_stays(self) -> None:
        """Through a reload that makes the app anew, and a kill and a start; then it is let in, and stays that."""
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        config = home / "sidecar.toml"

        def configure(metadata: str) -> None:
            config.write_text(
                f'[[app]]\nname = "foo"\naddress = "127.0.0.1:{self.app.port}"\nmetadata = {{ zone = "{metadata}" }}\n'
            )

        configure("a")
        flags = [f"--config={config}", f"--data_dir={home / 'state'}"]
        daemon = running_daemon(flags)
        self.addCleanup(daemon.stop)
        until(lambda: self.known(daemon), 30)
        self.assertEqual(self.micro(daemon, "maint", "on", "foo", "--reason=new disk")[0], 0)
        until(lambda: not self.known(daemon), 30)
        configure("b")
        self.assertEqual(self.micro(daemon, "reload")[0], 0)
        self.assertEqual(daemon.request("GET", "/maintenance").json, {"away": {"foo": "new disk"}})
        daemon.signal(signal.SIGKILL)
        daemon.wait(30)

        daemon = running_daemon(flags)
        self.addCleanup(daemon.stop)
        self.assertEqual(daemon.request("GET", "/maintenance").json, {"away": {"foo": "new disk"}})
        self.assertFalse(self.known(daemon))
        self.assertEqual(daemon.request("GET", "/health/ready").status, 503)
        self.assertEqual(self.micro(daemon, "maint", "off")[0], 0)
        until(lambda: self.known(daemon), 30)
        daemon.signal(signal.SIGKILL)
        daemon.wait(30)

        daemon = running_daemon(flags)
        self.addCleanup(daemon.stop)
        until(lambda: self.known(daemon), 30)
        self.assertEqual(daemon.request("GET", "/maintenance").json, {"away": {}})

    def test_journal(self) -> None:
        """`micro log` says in words when an app came, left and came back, and why."""
        daemon = self.daemon()
        self.assertEqual(self.micro(daemon, "maint", "on", "foo", "--reason=new disk")[0], 0)
        until(lambda: not self.known(daemon), 30)
        self.assertEqual(self.micro(daemon, "maint", "off")[0], 0)
        until(lambda: self.known(daemon), 30)
        code, said = self.micro(daemon, "log", "foo")
        came, left, back = said.splitlines()
        self.assertEqual(code, 0)
        self.assertIn("came: registered", came)
        self.assertTrue(left.endswith("left: maintenance; new disk (by operator)"), left)
        self.assertIn("came: restored", back)
        self.assertEqual(self.micro(daemon, "log", "foo", "--reason=maintenance"), (0, left + "\n"))
        self.assertEqual(self.micro(daemon, "log", "--since=never")[0], 2)
