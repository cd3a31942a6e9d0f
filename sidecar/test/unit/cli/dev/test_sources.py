"""Which files are looked at, and what counts as a change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.dev import sources


class Sources(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        (self.home / "app.py").write_text("1")

    def look(self) -> sources.Snapshot:
        return sources.snapshot([str(self.home)])

    def test_changes(self) -> None:
        """A file that came, was written, touched or went is named; nothing is where nothing happened."""
        path = self.home / "app.py"
        deeds: tuple[Callable[[], object], ...] = (
            lambda: (self.home / "new.html").write_text("x"),
            lambda: path.write_text("22"),
            lambda: os.utime(path, ns=(1, 1)),
            path.unlink,
        )
        before = self.look()
        self.assertEqual(sources.changed(before, self.look()), "")
        for name, deed in zip(("new.html", "app.py", "app.py", "app.py"), deeds, strict=True):
            deed()
            after = self.look()
            self.assertEqual(sources.changed(before, after), str(self.home / name))
            before = after

    def test_left_out(self) -> None:
        """What programs write while they run, what is hidden, and environments and packages of others do not count."""
        before = self.look()
        for name in ("a.pyc", "a.log", "a.db-journal", ".hidden", "b~", "#c#"):
            (self.home / name).write_text("x")
        for name in (".git", "node_modules", "__pycache__", "env", "x.egg-info"):
            (self.home / name).mkdir()
            (self.home / name / "module.py").write_text("x")
        (self.home / "env" / "pyvenv.cfg").write_text("")
        self.assertEqual(sources.changed(before, self.look()), "")
        (self.home / "src").mkdir()
        (self.home / "src" / "module.py").write_text("x")
        self.assertIn("module.py", sources.changed(before, self.look()))

    def test_one_file(self) -> None:
        """A file may be named by itself, before it is there too."""
        place = str(self.home / "settings.toml")
        before = sources.snapshot([place])
        Path(place).write_text("x")
        self.assertEqual(sources.changed(before, sources.snapshot([place])), place)
