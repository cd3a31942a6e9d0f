"""Where state is kept, and what becomes of a directory that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.daemon.cmdline.settings import (
    AppSettings,
    EndpointPort,
    ListenSettings,
    Settings,
    StateSettings,
    TcpPort,
)
from sidecar.daemon.datadir import DataDirectory, KeptState, open_store, place
from sidecar.errors import ConfigError, UnsafeSetting
from sidecar.registry.storefile import NAME


def settings(data_dir: str = "", where: Any = TcpPort("127.0.0.1", 8081)) -> Settings:  # noqa: B008  # frozen
    return Settings(listen=ListenSettings(where), state=StateSettings(data_dir))


class Place(SynchronousTestCase):
    def test_named(self) -> None:
        """The directory that was named counts, whatever else there is; none is none."""
        environ = {"STATE_DIRECTORY": "/var/lib/microsidecar", "HOME": "/home/me"}
        self.assertEqual(place(settings("/srv/state"), environ), DataDirectory(Path("/srv/state"), True))
        self.assertIsNone(place(settings("none"), environ))

    def test_default(self) -> None:
        """Else systemd's, else one of the address's own in the user's directory for state."""
        for environ, where, expected in (
            ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, TcpPort("127.0.0.1", 80), "/var/lib/a"),
            ({"XDG_STATE_HOME": "/x"}, TcpPort("127.0.0.1", 80), "/x/microsidecar/127.0.0.1_80"),
            ({"HOME": "/home/me"}, TcpPort("", 80), "/home/me/.local/state/microsidecar/0.0.0.0_80"),
            ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, TcpPort("h", 1), "/h/.local/state/microsidecar/h_1"),
            ({"HOME": "/h"}, EndpointPort("unix:/run/micro.sock"), "/h/.local/state/microsidecar/run-micro.sock"),
        ):
            self.assertEqual(place(settings(where=where), environ), DataDirectory(Path(expected), False))

    def test_nowhere(self) -> None:
        """A port that the system chooses keeps nothing, nor does a user without a home."""
        self.assertIsNone(place(settings(where=TcpPort("127.0.0.1", 0)), {"HOME": "/h"}))
        self.assertIsNone(place(settings(), {}))
        self.assertIsNotNone(place(settings("/srv/state", TcpPort("127.0.0.1", 0)), {}))


class Opened(TestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.clock = Clock()

    def test_locked(self) -> None:
        """A directory that another daemon uses: where it was named, a fault; else a warning, and nothing is kept."""
        first = open_store(settings(str(self.home)), {}, self.clock)
        assert first is not None
        error = self.assertRaises(UnsafeSetting, open_store, settings(str(self.home)), {}, self.clock)
        self.assertIn("is used by another sidecar", str(error))
        self.assertIsNone(open_store(settings(), {"STATE_DIRECTORY": str(self.home)}, self.clock))

    async def test_lock_given_back(self) -> None:
        """A daemon that stopped leaves the directory to the next one."""
        from twisted.internet import reactor

        for _ in range(2):
            store = open_store(settings(str(self.home)), {}, reactor)
            assert store is not None
            store.startService()
            stopped: Deferred[None] = store.stopService()
            await stopped

    def test_cannot_be_written(self) -> None:
        """A directory that cannot be: where it was named, a fault; else a warning."""
        self.home.write_bytes(b"a file")
        error = self.assertRaises(ConfigError, open_store, settings(f"{self.home}/x"), {}, self.clock)
        self.assertIn("cannot be written", str(error))
        self.assertIsNone(open_store(settings(), {"STATE_DIRECTORY": f"{self.home}/x"}, self.clock))

    def test_damaged(self) -> None:
        """A damaged file is a fault in any case, and the directory is free again."""
        self.home.mkdir()
        (self.home / NAME).write_bytes(b"nonsense" * 1000)
        for _ in range(2):
            error = self.assertRaises(ConfigError, open_store, settings(str(self.home)), {}, self.clock)
            self.assertIn("micro repair", str(error))
        self.assertRaises(ConfigError, open_store, settings(), {"STATE_DIRECTORY": str(self.home)}, self.clock)


class Ids(SynchronousTestCase):
    def test_kept(self) -> None:
        """An app whose id was made up keeps the one that it had here; one that was given counts as it is."""
        home = Path(self.mktemp()).absolute()
        kept = evolve_machine(KeptState.open(settings(str(home)), {}, Clock()), "machine")
        made = AppSettings("foo", "foo-1", host="127.0.0.1", port=9090, made_id=True)
        given = AppSettings("bar", "bar-1", host="127.0.0.1", port=9091)
        self.assertEqual([app.id for app in kept.with_ids(Settings(apps=(made, given))).apps], ["foo-1", "bar-1"])
        again = Settings(apps=(evolve(made, id="foo-2"), evolve(given, id="bar-2")))
        self.assertEqual([app.id for app in kept.with_ids(again).apps], ["foo-1", "bar-2"])
        moved = Settings(apps=(evolve(made, id="foo-3", port=9092),))
        self.assertEqual([app.id for app in kept.with_ids(moved).apps], ["foo-3"])

    def test_unknown_machine(self) -> None:
        """Where nobody can tell this machine from a copy of its disk no id is used again."""
        home = Path(self.mktemp()).absolute()
        kept = evolve_machine(KeptState.open(settings(str(home)), {}, Clock()), "")
        for id in ("foo-1", "foo-2"):
            app = AppSettings("foo", id, made_id=True)
            self.assertEqual([each.id for each in kept.with_ids(Settings(apps=(app,))).apps], [id])


def evolve_machine(kept: KeptState, machine: str) -> KeptState:
    kept.machine = machine
    return kept
