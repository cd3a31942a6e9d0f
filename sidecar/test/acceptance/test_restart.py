"""What a real daemon keeps when it is killed, and what a full life leaves to the next one."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from sidecar.test.doubles.programs.daemon import Daemon, run, running_daemon
from sidecar.test.doubles.programs.process import free_port


class Restarts(TestCase):
    def setUp(self) -> None:
        self.home = str(Path(self.mktemp()).absolute())
        self.port = free_port()

    def daemon(self, *args: str, data_dir: str | None = None) -> Daemon:
        daemon = running_daemon(["--port", str(self.port), f"--data_dir={data_dir or self.home}", *args])
        self.addCleanup(daemon.stop)
        return daemon

    def register(self, daemon: Daemon, name: str, ttl: str = "") -> int:
        body = {"name": name, "nodes": [{"id": f"{name}-1", "address": "127.0.0.1", "port": 9}]}
        return daemon.request("POST", f"/registry{f'?ttl={ttl}' if ttl else ''}", json.dumps(body)).status

    def names(self, daemon: Daemon) -> list[str]:
        return [each["name"] for each in daemon.request("GET", "/registry").json]

    def test_killed(self) -> None:
        """What was acknowledged is there after kill -9, what was taken out or ran out is not."""
        daemon = self.daemon()
        for name, ttl in (("lasting", ""), ("leased", "1h"), ("brief", "1ms"), ("gone", "")):
            self.assertEqual(self.register(daemon, name, ttl), 200)
        body = json.dumps({"name": "gone", "nodes": [{"id": "gone-1"}]})
        self.assertEqual(daemon.request("DELETE", "/registry", body).status, 200)
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        for _ in range(3):
            daemon = self.daemon()
            self.assertEqual(self.names(daemon), ["lasting", "leased"])
            daemon.signal(signal.SIGKILL)
            daemon.wait()

    def test_stopped(self) -> None:
        """After an orderly stop as well."""
        daemon = self.daemon()
        self.assertEqual(self.register(daemon, "lasting"), 200)
        daemon.signal()
        self.assertEqual(daemon.wait(), 0)
        self.assertEqual(self.names(self.daemon()), ["lasting"])

    def test_app_keeps_its_id(self) -> None:
        """Our own app has the same id after a restart; it is not there twice, and not there when it is not named."""
        app = ("--server_name=foo", "--server_address=127.0.0.1:9")

        def ids(daemon: Daemon) -> list[str]:
            for _ in range(100):
                answer = daemon.request("GET", "/registry?service=foo")
                if answer.status == 200:
                    return [node["id"] for node in answer.json["nodes"]]
                time.sleep(0.05)
            raise AssertionError("the app is not registered")

        daemon = self.daemon(*app)
        (first,) = ids(daemon)
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        daemon = self.daemon(*app)
        self.assertEqual(ids(daemon), [first])
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        self.assertEqual(self.names(self.daemon()), [])

    def test_one_daemon_a_directory(self) -> None:
        """A second daemon with the same directory ends with code 2 and says why."""
        self.daemon()
        ended = run("micro", ["sidecar", "--port", "0", f"--data_dir={self.home}"])
        self.assertEqual(ended.returncode, 2)
        self.assertIn(b"is used by another sidecar", ended.stderr)

    def test_none(self) -> None:
        """With none nothing is kept, and nothing is written."""
        daemon = self.daemon(data_dir="none")
        self.assertEqual(self.register(daemon, "lasting"), 200)
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        self.assertEqual(self.names(self.daemon(data_dir="none")), [])
        found: Any = Path(self.home)
        self.assertFalse(found.exists())

    def test_repaired(self) -> None:
        """A damaged file is told at start, with how to go on; what can be read of it is there when that was done."""
        daemon = self.daemon()
        for number in range(300):
            self.assertEqual(self.register(daemon, f"s{number:03}"), 200)
        used = run("micro", ["repair", f"--data_dir={self.home}"])
        self.assertEqual((used.returncode, b"is used by another sidecar" in used.stderr), (1, True))
        daemon.signal()
        daemon.wait()
        path = Path(self.home) / "state.sqlite"
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2 // 4096 * 4096)
            file.write(b"\xff" * 4096)
        refused = run("micro", ["sidecar", f"--port={self.port}", f"--data_dir={self.home}"])
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(b"is damaged", refused.stderr)
        self.assertIn(b"micro repair --data_dir", refused.stderr)
        done = run("micro", ["repair", f"--data_dir={self.home}"])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"registrations", done.stdout)
        self.assertGreater(len(self.names(self.daemon())), 30)
        nothing = run("micro", ["repair", f"--data_dir={self.home}/nowhere"])
        self.assertEqual(nothing.returncode, 3)
