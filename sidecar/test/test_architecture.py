"""The house rules that a machine can hold: which room may import which, and that importing starts nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import sidecar

HOUSE = Path(sidecar.__file__).parent

#: From the ground up. A room may import rooms of its own floor's number or lower, as ``ALLOWED`` refines.
FLOORS: dict[str, int] = {
    "model": 0,
    "errors": 0,
    "interfaces": 0,
    "lifecycle": 0,
    "waiting": 0,
    "wire": 1,
    "net": 2,
    "registry": 3,
    "broker": 3,
    "rpc": 4,
    "pubsub": 4,
    "health": 4,
    "stats": 4,
    "web": 5,
    "websocket": 5,
    "daemon": 6,
    "cli": 7,
}

#: Third-party packages that only one place may know.
CONFINED: dict[str, tuple[str, ...]] = {
    "treq": ("sidecar/net/agent.py",),
    "autobahn": ("sidecar/websocket/",),
    "txaio": ("sidecar/websocket/",),
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the product, tests left out, as dotted name and path."""
    for path in sorted(HOUSE.rglob("*.py")):
        parts = path.relative_to(HOUSE.parent).with_suffix("").parts
        if "test" in parts:
            continue
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Every dotted name that ``path`` imports, wherever in the file the import stands."""
    for statement in ast.walk(ast.parse(path.read_text())):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield alias.name, statement
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            for alias in statement.names:
                yield f"{statement.module}.{alias.name}", statement


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


class Directions(SynchronousTestCase):
    def test_imports_point_down(self) -> None:
        """No room imports one on a higher floor."""
        wrong = [
            f"{name} imports {target}"
            for name, path in modules()
            for target, _ in imports(path)
            if target.startswith("sidecar.")
            and room(target) in FLOORS
            and room(name) in FLOORS
            and FLOORS[room(target)] > FLOORS[room(name)]
        ]
        self.assertEqual(wrong, [])

    def test_registries_and_brokers_are_strangers(self) -> None:
        """A broker never imports a registry, nor the reverse: the HTTP broker is handed an IRegistry."""
        wrong = [
            f"{name} imports {target}"
            for name, path in modules()
            for target, _ in imports(path)
            if {room(name), room(target)} == {"registry", "broker"} and target.startswith("sidecar.")
        ]
        self.assertEqual(wrong, [])

    def test_upper_floors_see_interfaces_only(self) -> None:
        """Only daemon.backends names concrete registries and brokers."""
        wrong = [
            f"{name} imports {target}"
            for name, path in modules()
            for target, _ in imports(path)
            if room(target) in ("registry", "broker")
            and target.startswith("sidecar.")
            and room(name) not in ("registry", "broker")
            and name != "sidecar.daemon.backends"
        ]
        self.assertEqual(wrong, [])

    def test_libraries_are_confined(self) -> None:
        """treq is known to net.agent alone, Autobahn to the websocket room alone."""
        wrong = [
            f"{name} imports {target}"
            for name, path in modules()
            for target, _ in imports(path)
            for package, places in CONFINED.items()
            if target.split(".")[0] == package
            and not any(path.relative_to(HOUSE.parent).as_posix().startswith(place) for place in places)
        ]
        self.assertEqual(wrong, [])

    def test_no_global_reactor(self) -> None:
        """``from twisted.internet import reactor`` stands in daemon.tap and the cli alone."""
        wrong = [
            name
            for name, path in modules()
            for target, _ in imports(path)
            if target == "twisted.internet.reactor" and name != "sidecar.daemon.tap" and room(name) != "cli"
        ]
        self.assertEqual(wrong, [])

    def test_pure_rooms(self) -> None:
        """wire and pubsub know no reactor, no clock and no logger."""
        impure = ("twisted.internet", "twisted.logger", "twisted.python.log", "time.", "logging.", "socket.")
        wrong = [
            f"{name} imports {target}"
            for name, path in modules()
            for target, _ in imports(path)
            if room(name) == "wire" and (target.startswith(impure) or target in ("time", "logging", "socket"))
        ]
        self.assertEqual(wrong, [])


class Imports(SynchronousTestCase):
    def test_no_module_installs_a_reactor(self) -> None:
        """Importing any module, in a fresh process, installs no reactor and starts no thread."""
        names = [name for name, _ in modules() if not name.endswith("__main__")]
        program = (
            "import importlib, sys, threading\n"
            "for name in sys.argv[1:]:\n"
            "    importlib.import_module(name)\n"
            "    assert 'twisted.internet.reactor' not in sys.modules, name + ' installs a reactor'\n"
            "assert threading.active_count() == 1, threading.enumerate()\n"
        )
        done = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
