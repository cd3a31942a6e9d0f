"""The rules of the architecture that a machine can hold: who imports whom, what stands where, which words are used."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test import source
from sidecar.test.doubles.programs.daemon import environment
from sidecar.test.doubles.programs.process import checkout, no_checkout
from sidecar.test.source import modules, top, words

#: From the ground up. A package may import those of its own number or a lower one.
FLOORS: dict[str, int] = {
    "model": 0,
    "errors": 0,
    "interfaces": 0,
    "lifecycle": 0,
    "waiting": 0,
    "redaction": 0,
    "wire": 1,
    "problems": 2,
    "net": 2,
    "registry": 3,
    "broker": 3,
    "rpc": 4,
    "pubsub": 4,
    "health": 4,
    "stats": 4,
    "websocket": 5,
    "web": 6,
    "daemon": 7,
    "simulate": 8,
    "cli": 8,
}

#: Libraries, and the only places that may know them.
CONFINED: dict[str, tuple[str, ...]] = {
    "treq": ("sidecar.net.client.fetcher",),
    "autobahn": ("sidecar.websocket",),
    "txaio": ("sidecar.websocket",),
    "twisted.python.usage": ("sidecar.daemon", "sidecar.cli"),
    "twisted.internet.reactor": ("sidecar.daemon.tap", "sidecar.cli"),
    "httptools": ("sidecar.net",),
    "h2": ("sidecar.net.http2",),
    "nats": ("sidecar.net.nats",),
    "opentelemetry": ("sidecar.stats.tracing.export",),
}

#: What ``wire``, and every file that says of itself that it is pure, leaves to others.
IMPURE = ("twisted.internet", "twisted.logger", "twisted.python.log", "time", "logging", "socket", "random")

#: What ``net`` may import of ours: itself, and what knows no more of micro than it does.
NET = ("sidecar.net", "sidecar.lifecycle", "sidecar.waiting", "sidecar.redaction")

#: Of ``registry`` what is no registry: what happened, and what a restart is to find.
KEPT = (
    "sidecar.registry.journal",
    "sidecar.registry.journalfanout",
    "sidecar.registry.store",
    "sidecar.registry.storefile",
    "sidecar.registry.storerepair",
)

MOST_FILES = 15
MOST_LINES = 300
#: Longer files, each with the reason why it holds one thing all the same.
LONG: dict[str, str] = {
    "sidecar/model.py": "the values that all of it speaks in, and nothing else",
    "sidecar/interfaces.py": "the seams, and nothing else",
    "sidecar/cli/table.py": "one table, a command after the other",
    "sidecar/daemon/cmdline/flags.py": "one table, a flag a line",
    "sidecar/registry/peers/registry.py": "one registry without a store: what is registered, heard, asked and told",
    "sidecar/registry/remote/consul.py": "one registry; what could be parted from it is in the files beside it",
}

#: Words that no name has: they tell a story where the field has a word. Left the old, right the one to use.
WORDS: dict[str, str] = {
    "chorus": "peers, transport",
    "voice": "peer",
    "retract": "withdraw",
    "parted": "on_goodbye",
    "sighting": "last seen",
    "sightings": "last seen",
    "shelf": "catalog",
    "shelves": "catalog",
    "debt": "retry",
    "debts": "retry",
    "owed": "pending",
    "dismiss": "forget, deregister",
    "doubt": "invalidate",
    "doubtful": "stale",
    "shaky": "stale",
    "stir": "invalidate",
    "desk": "subscriptions",
    "desks": "subscriptions",
    "ears": "subscribers",
    "sit": "subscribe",
    "courier": "delivery queue",
    "couriers": "delivery queues",
    "parcel": "delivery",
    "mailbox": "receiver",
    "flavour": "dialect",
    "flavours": "dialects",
    "audience": "subscribers",
    "everybody": "topic, all",
    "tally": "counters",
    "seats": "members",
    "talk": "session",
    "wish": "subscribe request",
    "floodgate": "token bucket",
    "brisk": "no delay",
    "taker": "waiter",
    "mold": "template",
    "mould": "template",
    "universal": "template, compatible",
    "keeper": "registrar, connection owner",
    "judgement": "threshold",
    "finding": "check result",
    "settle": "reconcile, resolve, end",
    "settled": "reconciled, resolved, ended",
    "hold": "buffer, pause, subscribe, register, set a deadline",
    "holding": "registration",
    "beside": "local app",
    "elsewhere": "unsupported, another node",
    "room": "resource, space",
    "rooms": "resources",
    "house": "",
    "chores": "",
    "manager": "",
    "handler": "",
    "utils": "",
    "helpers": "",
}

#: Whole names, leading underscores apart, that said too little or too many things.
NAMES: dict[str, str] = {
    "flight": "call",
    "behind": "slow",
    "spare": "take_idle",
    "give_back": "release",
    "Bounds": "OutboxLimits",
    "Engine": "FailoverClient",
    "Inbound": "the server's request",
    "InboundResource": "appserver's resource",
    "NodeReader": "parser",
    "RequestReader": "parser",
}

#: Files that are not to be, under any folder.
FILES = frozenset(
    words(
        """
        agent answers audience beside brisk chorus couriers deadlines desks elsewhere engine envelope flight
        floodgate heads helpers holding host house inbound judgement keeper mailbox manager ours plain printing
        reader reading reasons rendering resolving room rules several sightings slices subscribing talk tasks
        transports trusting universal upgrade upgrading utils values writes
        """
    )
)

#: Words that are metaphors where a docstring uses them.
METAPHORS = frozenset(
    words(
        """
        audience brisk chores chorus courier couriers debt debts desk desks ears flavour flavours floodgate floor
        floors house judgement keeper keepers mailbox mold mould parcel parcels room rooms shelf shelves sighting
        sightings stranger strangers tally voice voices wish wishes
        """
    )
)


class Rules(SynchronousTestCase):
    def assertNone(self, wrong: Iterable[str]) -> None:
        """Nothing is wrong; else all of it is told."""
        found = sorted(set(wrong))
        self.assertEqual(found, [], "\n" + "\n".join(found))


class Directions(Rules):
    def test_imports_point_down(self) -> None:
        """No package imports one on a higher floor; every one has its floor."""
        self.assertEqual({module.top for module in modules()} - {""} - set(FLOORS), set())
        self.assertNone(
            f"{module.name} imports {target}"
            for module in modules()
            for target in module.imports()
            if FLOORS.get(top(target), 0) > FLOORS.get(module.top, 9)
        )

    def test_no_relative_imports(self) -> None:
        """Every import names its module in full, so that these tests see it."""
        self.assertNone(
            f"{module.name} imports {target}"
            for module in modules()
            for target in module.imports()
            if target.startswith(".")
        )

    def test_no_circles_of_files(self) -> None:
        """No module imports itself by way of others, for its types included."""
        self.assertNone(" <-> ".join(circle) for circle in source.circles(source.file_graph()))

    def test_no_circles_of_folders(self) -> None:
        """No folder's files import themselves by way of other folders: siblings never import each other."""
        self.assertNone(" <-> ".join(circle) for circle in source.circles(source.folder_graph()))

    def test_registries_and_brokers_apart(self) -> None:
        """A broker never imports a registry, nor the reverse: the HTTP broker is handed an IRegistry."""
        self.assertNone(
            f"{module.name} imports {target}"
            for module in modules()
            for target in module.imports()
            if {module.top, top(target)} == {"registry", "broker"}
        )

    def test_upper_floors_see_interfaces_only(self) -> None:
        """Only daemon.backends names concrete registries and brokers. The journal and the store are neither."""
        self.assertNone(
            f"{module.name} imports {target}"
            for module in modules()
            for target in module.imports()
            if top(target) in ("registry", "broker") and module.top not in ("registry", "broker")
            if module.name != "sidecar.daemon.backends" and not _within(target, KEPT)
        )

    def test_net_knows_nothing_of_micro(self) -> None:
        """net imports nothing of ours but itself and the tools for waiting."""
        self.assertNone(
            f"{module.name} imports {target}"
            for module in modules()
            for target in module.imports()
            if module.top == "net" and target.startswith("sidecar.") and not _within(target, NET)
        )

    def test_libraries_are_confined(self) -> None:
        """treq, Autobahn, usage, the global reactor and the rest are known where they are at home, and nowhere else."""
        self.assertNone(
            f"{module.name} imports {target}"
            for module in modules()
            for target in module.imports()
            for library, places in CONFINED.items()
            if _within(target, [library]) and not _within(module.name, places)
        )

    def test_pure(self) -> None:
        """wire, and every file that says that it is pure, knows no reactor, clock, logger, or chance of its own.

        (``random.Random`` is a type that chance is handed in by.)
        """
        self.assertNone(
            f"{module.name} imports {target}"
            for module in modules()
            for target in module.imports()
            if module.top == "wire" or re.search(r"\bPure[.:]", module.docstring)
            if _within(target, IMPURE) and target != "random.Random"
        )


class Places(Rules):
    def test_folders_are_small(self) -> None:
        """A folder holds fifteen files at most, its ``__init__`` apart."""
        files = Counter(module.folder for module in modules() if not module.path.endswith("__init__.py"))
        self.assertNone(folder for folder, count in files.items() if count > MOST_FILES)

    def test_files_are_short(self) -> None:
        """A file has three hundred lines at most, unless it is listed with a reason."""
        self.assertNone(module.path for module in modules() if module.lines > MOST_LINES and module.path not in LONG)

    def test_long_files_are_long(self) -> None:
        """Whatever is listed as long is."""
        self.assertEqual(set(LONG) - {module.path for module in modules() if module.lines > MOST_LINES}, set())

    def test_every_file_says_what_it_is(self) -> None:
        """Every module begins with a sentence."""
        self.assertNone(module.path for module in modules() if not re.search(r"[.?!]$", module.sentence))

    def test_tests_mirror_the_tree(self) -> None:
        """Each unit test stands under the name of a module, or of the package that it is a test of."""
        names = {module.name.partition(".")[2] for module in modules()}
        unit = source.ROOT / "sidecar" / "test" / "unit"
        wrong = []
        for path in unit.rglob("test_*.py"):
            *folders, name = path.relative_to(unit).with_suffix("").parts
            subject = name.removeprefix("test_")
            mirrored = {
                ".".join([*folders, subject[:end]])
                for end in range(1, len(subject) + 1)
                if subject[end : end + 1] in ("", "_")
            }
            if not mirrored & names:
                wrong.append(path.relative_to(unit).as_posix())
        self.assertNone(wrong)


class Documents(Rules):
    """docs/architecture.rst is true."""

    def setUp(self) -> None:
        reason = no_checkout()
        if reason is not None:
            raise SkipTest(reason)
        self.text = (checkout() / "docs" / "architecture.rst").read_text("utf-8")

    def test_documented(self) -> None:
        """It lists all files as ``python -m sidecar.test.source docs/architecture.rst`` writes them."""
        written, true = source.between(self.text).splitlines(), source.file_list().splitlines()
        self.assertNone(line for line in difflib.ndiff(written, true) if not line.startswith("  "))

    def test_names_exist(self) -> None:
        """What it calls a function or class of a file is one."""
        files = {module.path.removeprefix("sidecar/"): module for module in modules()}
        named = re.findall(r"``([\w/]+\.py)``\s+``(?!sidecar\.)([A-Za-z_][\w.]*)``", self.text)
        self.assertGreater(len(named), 20)
        self.assertNone(f"{path} {name}" for path, name in named if path not in files or not files[path].defines(name))

    def test_files_exist(self) -> None:
        """Each path that it names is there, and so is each test."""
        paths = [path.removeprefix("sidecar/") for path in re.findall(r"``([\w/]+\.py)``", self.text)]
        tests = [name.replace(".", "/") for name in re.findall(r"``sidecar\.(test\.[\w.]+)``", self.text)]
        package = source.ROOT / "sidecar"
        self.assertNone(path for path in paths if "/" in path and not (package / path).exists())
        self.assertNone(
            path for path in tests if not (package / path).is_dir() and not (package / f"{path}.py").exists()
        )

    def test_private_parts(self) -> None:
        """Each private attribute of a library that we use is told of."""
        self.assertNone(
            name for name in source.foreign_private_names() - {"_exit", "_replace"} if name not in self.text
        )


class Words(Rules):
    def test_class_names_are_unique(self) -> None:
        """No two public classes have one name."""
        places = defaultdict(list)
        for module in modules():
            for name in module.classes():
                places[name].append(module.name)
        self.assertNone(f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1)

    def test_names(self) -> None:
        """No name has a word of the stories that the first release told."""
        self.assertNone(
            f"{module.path} {name}"
            for module in modules()
            for name in module.names()
            if name.lstrip("_") in NAMES or set(words(name)) & set(WORDS)
        )

    def test_file_names(self) -> None:
        """No file has one of the names that said nothing to a newcomer."""
        self.assertNone(module.path for module in modules() if module.name.rpartition(".")[2] in FILES)

    def test_docstrings(self) -> None:
        """Docstrings are plain English."""
        self.assertNone(
            f"{module.path} {word}"
            for module in modules()
            for text in module.docstrings()
            for word in re.findall(r"[a-z]+", text.lower())
            if word in METAPHORS
        )


class Imports(SynchronousTestCase):
    def test_no_module_installs_a_reactor(self) -> None:
        """Importing any module, in a fresh process, installs no reactor and starts no thread."""
        program = (
            "import importlib, sys, threading\n"
            "for name in sys.argv[1:]:\n"
            "    importlib.import_module(name)\n"
            "    assert 'twisted.internet.reactor' not in sys.modules, name + ' installs a reactor'\n"
            "assert threading.active_count() == 1, threading.enumerate()\n"
        )
        names = [module.name for module in modules()]
        done = subprocess.run(
            [sys.executable, "-c", program, *names], capture_output=True, text=True, timeout=120, env=environment()
        )
        self.assertEqual(done.returncode, 0, done.stderr)


def _within(name: str, places: Iterable[str]) -> bool:
    """Whether ``name`` is one of the places, or something in one."""
    return any(name == place or name.startswith(place + ".") for place in places)
