"""What systemd is told, and when."""

from __future__ import annotations

import select
import socket

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.systemd.notify import Notifier, watchdog_interval


class Notifications(SynchronousTestCase):
    def setUp(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.listener.close)
        self.listener.bind("")  # an abstract name of the kernel's choice
        self.listener.setblocking(False)
        self.address = "@" + self.listener.getsockname()[1:].decode()
        self.clock = MemoryReactorClock()
        self.status = "1 app registered"

    def notifier(self, **environ: str) -> Notifier:
        made = Notifier(self.clock, {"NOTIFY_SOCKET": self.address, **environ}, lambda: self.status)
        made.startService()
        self.addCleanup(made.stopService)
        return made

    def told(self) -> list[str]:
        """What was said since the last look."""
        said = []
        while select.select([self.listener], [], [], 0)[0]:
            said.append(self.listener.recv(4096).decode())
        return said

    def test_ready_and_stopping(self) -> None:
        """READY with a status once the reactor runs, STOPPING at the end."""
        notifier = self.notifier()
        self.clock.run()
        self.assertEqual(self.told(), ["READY=1\nSTATUS=1 app registered"])
        notifier.stopService()
        self.assertEqual(self.told(), ["STOPPING=1\nSTATUS=Draining"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_watchdog(self) -> None:
        """The watchdog hears twice in its time."""
        self.notifier(WATCHDOG_USEC="4000000")
        self.clock.run()
        self.told()
        self.clock.pump([1.0] * 4)
        self.assertEqual([one for one in self.told() if "WATCHDOG" in one], ["WATCHDOG=1", "WATCHDOG=1"])

    def test_status_changes(self) -> None:
        """A status line goes out when it changed, on one line, and not when it did not."""
        self.notifier()
        self.clock.run()
        self.told()
        self.clock.advance(6)
        self.assertEqual(self.told(), [])
        self.status = "etcd\nis away"
        self.clock.advance(6)
        self.assertEqual(self.told(), ["STATUS=etcd is away"])

    def test_reload(self) -> None:
        """A reload is announced with systemd's own clock, and ended by READY."""
        notifier = self.notifier()
        notifier.reloading()
        notifier.reloaded("Reload failed: no such file")
        began, ended = self.told()
        self.assertRegex(began, r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        self.assertEqual(ended, "READY=1\nSTATUS=Reload failed: no such file")


class Watchdog(SynchronousTestCase):
    def test_interval(self) -> None:
        """Half of what the unit allows; nothing without a unit's watchdog or for another process."""
        self.assertEqual(watchdog_interval({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 7), 15.0)
        for environ in (
            {},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "8"},
        ):
            self.assertIsNone(watchdog_interval(environ, 7))
