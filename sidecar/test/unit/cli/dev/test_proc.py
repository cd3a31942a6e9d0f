"""What /proc tells of a program: its processes, and where they listen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.dev import proc


class Proc(SynchronousTestCase):
    def setUp(self) -> None:
        if not proc.available():
            self.skipTest("there is no /proc here")

    def test_listening(self) -> None:
        """Sockets that listen are found in the order in which they were made, with host and port; others are not."""
        with socket.socket() as first, socket.socket() as second, socket.socket() as other:
            for sock in (first, second, other):
                sock.bind(("127.0.0.1", 0))
            for sock in (first, second):
                sock.listen()
            found = [(each.host, each.port) for each in proc.listening([os.getpid()])]
            wanted = [first.getsockname(), second.getsockname()]
            self.assertEqual([each for each in found if each in wanted], wanted)
            self.assertNotIn(other.getsockname(), found)

    def test_tree(self) -> None:
        """What a program started is found, in a session of its own too, and known when its parent is gone; another
        process of the same number is not."""
        inner = "import os, sys, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(1000)"
        outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
        with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, start_new_session=True) as program:
            assert program.stdout is not None
            pid = int(program.stdout.readline())
            found = proc.tree(program.pid)
            self.assertEqual({process.pid for process in found}, {program.pid, pid})
            self.assertEqual(proc.alive(found), found)
            program.kill()
            program.wait(60)
            (left,) = proc.alive(found)
            self.assertEqual((left.pid, proc.alive([proc.Process(pid, left.started + 1)])), (pid, set()))
            os.kill(pid, 9)
        self.assertEqual(proc.tree(program.pid), set())

    def test_gone(self) -> None:
        """A process that is gone listens nowhere."""
        with subprocess.Popen([sys.executable, "-c", ""]) as program:
            program.wait(60)
        self.assertEqual(proc.listening([program.pid]), [])

    def test_address(self) -> None:
        """The kernel's way to write addresses, in the machine's order of bytes; IPv4 in IPv6 is IPv4."""
        if sys.byteorder != "little":
            self.skipTest("these are written as a little-endian machine does")
        for text, host in (
            ("0100007F", "127.0.0.1"),
            ("00000000", "0.0.0.0"),
            ("00000000000000000000000001000000", "::1"),
            ("00000000000000000000000000000000", "::"),
            ("0000000000000000FFFF00000100007F", "127.0.0.1"),
        ):
            self.assertEqual(proc.address(text), host)
