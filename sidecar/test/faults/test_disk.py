"""A disk that takes nothing more, and room on it again."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.faults.kills import PATIENCE, names

#: Bytes of the small disk, and of what a file may have: more than the log, less than what is kept.
SMALL, LARGEST = 1024 * 1024, 16 * 1024


class FullDisk(SynchronousTestCase):
    def setUp(self) -> None:
        self.count = 0
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()

    def daemon(self) -> Daemon:
        daemon = running_daemon([f"--data_dir={self.home / 'state'}", "--access_log=off"])
        self.addCleanup(daemon.stop)
        return daemon

    def register(self, daemon: Daemon) -> tuple[int, str]:
        """:returns: the status, and the name that was asked for, which is a new one each time."""
        self.count += 1
        name = f"app-{self.count}"
        body = {"name": name, "nodes": [{"id": f"{name}-1", "address": "127.0.0.1", "port": 9}]}
        answer = daemon.request("POST", "/registry", json.dumps(body))
        if answer.status == 507:
            self.assertIn("make room", answer.json["detail"])
        return answer.status, name

    def met(self, daemon: Daemon, fill: Callable[[], None], room: Callable[[], None]) -> None:
        """Full twice: 507 and a line in the log, reads go on; afterwards all is as ever, and after kill -9 too."""
        there = set()
        for turn in range(1, 3):
            status, name = self.register(daemon)
            self.assertEqual(status, 200)
            there.add(name)
            fill()
            refused = set()
            for _ in range(1000):
                status, name = self.register(daemon)
                if status == 507:
                    refused.add(name)
                    break
                there.add(name)
            self.assertEqual(len(refused), 1, "it never was full")
            self.assertEqual(names(daemon), there)
            self.assertEqual(daemon.request("GET", "/health").status, 200)
            until(lambda turn=turn: daemon.output.count("Nothing can be kept in") >= turn, PATIENCE)  # type: ignore[misc]
            room()
            until(lambda: self.register(daemon)[0] == 200, PATIENCE)
            until(lambda turn=turn: daemon.output.count("can be written again") >= turn, PATIENCE)  # type: ignore[misc]
            there = names(daemon)
            self.assertEqual(refused & there, set())
        self.assertNotIn("Traceback", daemon.output)
        daemon.program.kill()
        self.assertEqual(names(self.daemon()), there)

    def test_disk(self) -> None:
        """On a disk of a mebibyte that somebody else fills."""
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", str(self.home)], capture_output=True
        )
        if mounted.returncode:
            raise SkipTest(f"no disk can be mounted here: {mounted.stderr.decode(errors='replace').strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.home)], check=True)
        filler = self.home / "filler"

        def fill() -> None:
            with filler.open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(4096)):
                        pass
                except OSError:
                    pass

        self.met(self.daemon(), fill, filler.unlink)

    def test_file_size(self) -> None:
        """Where files may grow no larger, which needs no right to mount."""
        if not hasattr(resource, "prlimit"):
            raise SkipTest("this system sets no limits of other processes")
        daemon = self.daemon()
        free = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)

        def limit(size: int) -> None:
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size, free[1]))

        self.assertLess(os.stat(daemon.program.log).st_size, LARGEST // 2)
        self.met(daemon, lambda: limit(LARGEST), lambda: limit(free[0]))
