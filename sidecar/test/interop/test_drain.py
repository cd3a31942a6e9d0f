"""Go-micro's clients while an app behind a sidecar leaves: an operator drains it, and no call of theirs fails."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.programs import process, say
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon

PATIENCE = 60.0
GENERATIONS = ("v2.9.1", "v4.11.0", "v5.30.0")


class Drain(SynchronousTestCase):
    timeout = 300
    skip = say.missing(*GENERATIONS) or process.missing("etcd")

    def setUp(self) -> None:
        home = Path(mkdtemp(prefix="drain-"))
        self.addCleanup(shutil.rmtree, home, True)
        port = process.free_port()
        self.engine = f"127.0.0.1:{port}"
        etcd = process.start_etcd(port, home)
        self.addCleanup(etcd.stop)

    def sidecar(self, name: str) -> Daemon:
        """A sidecar with an app that says its name."""

        def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
            return 200, json.dumps({"who": name}).encode()

        app = App.listen(socket.socket(), answer)
        self.addCleanup(app.close)
        flags = ("--registry=etcd", f"--registry_address={self.engine}", "--server_name=foo", f"--server_id=foo-{name}")
        daemon = running_daemon((*flags, f"--server_address=127.0.0.1:{app.port}", "--server_protocol=http"))
        self.addCleanup(daemon.stop)
        return daemon

    def callers(self, generation: str) -> str:
        """Have a client of Go's call once. :returns: who answered."""
        flags = ["-registry=etcd", f"-registry-address={self.engine}", f"-timeout={PATIENCE:.0f}s"]
        if generation.startswith("v2"):
            flags.append("-protocol=mucp")
        (said,) = say.run(generation, "call", *flags, "foo", "Say.Hello", "{}", patience=PATIENCE)
        self.assertEqual(said["event"], "answer", said)
        who: str = said["body"]["who"]
        return who

    def test_no_call_fails(self) -> None:
        """Clients that ask the registry call both apps; when one is drained all of them are answered by the other."""
        leaving, staying = self.sidecar("leaving"), self.sidecar("staying")
        end = time.monotonic() + PATIENCE
        while len(staying.request("GET", "/registry?service=foo").json.get("nodes", ())) < 2:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        for generation in GENERATIONS:
            seen: set[str] = set()
            while seen != {"leaving", "staying"}:
                self.assertLess(time.monotonic(), end, (generation, seen))
                seen.add(self.callers(generation))
        self.assertEqual(leaving.request("POST", "/drain").status, 200)
        for generation in GENERATIONS:
            self.assertEqual({self.callers(generation) for _ in range(4)}, {"staying"}, generation)
