"""Real engines under real sidecars: taken away and given back, watched, filled with much and with nonsense."""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import threading
import time
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from attrs import evolve
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.model import Node, Service
from sidecar.test.doubles.clients.blocking import App, WebSocket
from sidecar.test.doubles.clients.traffic import Calls, Repeating, call, until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.engines import Running, world
from sidecar.test.doubles.programs.process import missing
from sidecar.wire.registry import consul, etcd

#: Seconds for which engines are away; the promise is made for 30.
OUTAGE = float(os.environ.get("MICROSIDECAR_OUTAGE") or 6)
#: Seconds within which everything of ours is to be back.
BACK = 5.0
#: Seconds after which a sidecar no longer waits for what an engine might have forgotten, and some.
SETTLED = 7.5
#: The program behind each engine.
PROGRAMS = {"etcd": "etcd", "consul": "consul", "nats": "nats-server"}


def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """An app whose every method answers ``{"msg": "here"}``."""
    asked = json.loads(body) if body else {"id": 0}
    return 200, json.dumps({"id": asked["id"], "result": {"msg": "here"}, "error": None}).encode()


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


class EngineCase(SynchronousTestCase):
    def engine(self, kind: str) -> Running:
        reason = missing(PROGRAMS[kind])
        if reason is not None:
            raise SkipTest(reason)
        engine = Running(kind, Path(self.mktemp()).absolute())
        self.addCleanup(engine.stop)
        engine.start()
        return engine

    def sidecar(self, engine: Running, *flags: str) -> Daemon:
        daemon = running_daemon([*engine.flags, "--enable_stats", *flags])
        self.addCleanup(daemon.stop)
        return daemon

    def app(self) -> int:
        """:returns: the port of an app."""
        app = App.listen(socket.socket(), answer)
        self.addCleanup(app.close)
        return app.port

    def register(self, daemon: Daemon, name: str, port: int, ttl: str = "") -> int:
        """:returns: the status."""
        node = {"id": f"{name}-1", "address": "127.0.0.1", "port": port}
        target = f"/registry?ttl={ttl}" if ttl else "/registry"
        return daemon.request("POST", target, json.dumps({"name": name, "nodes": [node]})).status

    def is_stale(self, daemon: Daemon, name: str) -> bool:
        found = daemon.request("GET", f"/registry?service={name}")
        self.assertEqual(found.status, 200, found.body)
        self.assertEqual("warning" in found.headers, "stale" in found.json, found)
        return "warning" in found.headers

    def is_fresh(self, daemon: Daemon, name: str) -> bool:
        return not self.is_stale(daemon, name)

    def stats(self, daemon: Daemon) -> Any:
        return daemon.request("GET", "/stats", headers={"Accept": "application/json"}).json

    def answers(self, daemon: Daemon, name: str) -> bool:
        return call(daemon, name)[0] == 200

    def silent(self, daemon: Daemon, name: str) -> bool:
        return not self.answers(daemon, name)

    def listed(self, daemon: Daemon) -> set[str]:
        return {each["name"] for each in daemon.request("GET", "/registry").json} - {"consul"}

    def nodes(self, daemon: Daemon, name: str) -> set[str]:
        found = daemon.request("GET", f"/registry?service={name}")
        return {node["id"] for node in found.json["nodes"]} if found.status == 200 else set()

    def assertQuiet(self, *daemons: Daemon) -> None:
        """Nothing went wrong that nobody had thought of."""
        for daemon in daemons:
            self.assertIsNone(daemon.program.process.poll(), daemon.output[-2000:])
            for word in ("Traceback", "Unhandled", "#error", "#critical"):
                self.assertNotIn(word, daemon.output)


class OutageTests(EngineCase):
    """An engine goes, and comes back with what it knew and without, under two sidecars and calls between their apps."""

    #: An app that its sidecar registers, one that was registered for ever, and one that renews a short lease itself.
    OURS = ("beside", "by.hand", "renewed")

    def outage(self, kind: str, *more: str, restarts: tuple[str, ...]) -> None:
        engine, port = self.engine(kind), self.app()
        here = self.sidecar(
            engine, "--server_name=beside", f"--server_address=127.0.0.1:{port}", *self.broker(engine, more)
        )
        there = self.sidecar(engine, *self.broker(engine, more))
        self.assertEqual(self.register(here, "by.hand", port), 200)
        self.assertEqual(self.register(here, "renewed", port, "5s"), 200)
        for name in self.OURS:
            until(partial(self.answers, there, name), 10)
        renewals: set[int] = set()
        calls = Calls(there, self.OURS)
        with ExitStack() as stack:
            stack.enter_context(Repeating(lambda: renewals.add(self.register(here, "renewed", port, "5s")), 1.0))
            stack.enter_context(Repeating(calls, 0.02))
            talk = stack.enter_context(Session(here, there)) if more else None
            for restart in restarts:
                time.sleep(0.5)
                engine.stop()
                began = time.monotonic()
                self.away(here, there, port)
                late = self.sidecar(engine, *self.broker(engine, more)) if restart == restarts[-1] else None
                if talk is not None:
                    until(lambda: talk.refused > 0, 5)
                time.sleep(max(0.0, OUTAGE - (time.monotonic() - began)))
                if restart == "wiped":
                    engine.wipe()
                engine.start()
                self.back(engine, here, there, late, talk)
                self.assertEqual(calls.failures, [], restart)
            # Those who wait for what was forgotten stop waiting: what is there must really be there.
            time.sleep(SETTLED)
        self.assertEqual(calls.failures, [])
        self.assertGreater(calls.answered, 10 * OUTAGE)
        self.assertLessEqual(renewals, {200, 503})
        self.assertQuiet(here, there, *([late] if late else ()))
        print(f" [{kind}: {calls.answered} calls, slowest {calls.slowest:.3f} s]", end="")

    def broker(self, engine: Running, more: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(flag.format(port=engine.port) for flag in more)

    def away(self, here: Daemon, there: Daemon, port: int) -> None:
        """Reads go on, marked; writes fail, soon."""
        for daemon in (here, there):
            until(partial(self.is_stale, daemon, "by.hand"), 5)
            self.assertTrue(self.stats(daemon)["registry"]["stale"])
            self.assertIn("warning", daemon.request("GET", "/registry").headers)
            began = time.monotonic()
            self.assertEqual(self.register(daemon, f"new.{daemon.port}", port), 503)
            self.assertLess(time.monotonic() - began, 5)

    def back(self, engine: Running, here: Daemon, there: Daemon, late: Daemon | None, talk: Session | None) -> None:
        """Everything of ours is there again, for all to see."""
        if engine.kind != "nats":
            took = until(lambda: engine.names().issuperset(self.OURS), BACK)
            print(f" [{engine.kind}: back in {took:.2f} s]", end="")
        for daemon in (here, there):
            until(partial(self.is_fresh, daemon, "by.hand"), BACK)
            self.assertFalse(self.stats(daemon)["registry"]["stale"])
        if late is not None:
            for name in self.OURS:
                until(partial(self.answers, late, name), BACK)
        if talk is not None:
            heard = talk.heard
            until(lambda: talk.heard >= heard + 3, BACK)
        self.assertEqual(self.register(there, "afterwards", 9), 200)

    def test_etcd(self) -> None:
        """etcd is stopped and started, then stopped, wiped and started: no call fails, and all of ours comes back."""
        self.outage("etcd", restarts=("kept", "wiped"))

    def test_consul(self) -> None:
        """Consul is stopped and started, then stopped, wiped and started: no call fails, and all of ours comes back."""
        self.outage("consul", restarts=("kept", "wiped"))

    def test_nats(self) -> None:
        """NATS, as registry and as broker, is stopped and started: no call fails, a publisher is told what was not
        taken, and registrations and subscriptions come back."""
        self.outage("nats", "--broker=nats", "--broker_address=127.0.0.1:{port}", restarts=("kept",))

    def test_nats_frozen(self) -> None:
        """NATS hangs without a word: what is known is answered, though nobody knows yet that it is away."""
        engine, port = self.engine("nats"), self.app()
        here, there = self.sidecar(engine), self.sidecar(engine)
        self.assertEqual(self.register(here, "by.hand", port), 200)
        until(partial(self.answers, there, "by.hand"), 10)
        engine.freeze()
        try:
            for daemon in (here, there):
                self.assertEqual(self.nodes(daemon, "by.hand"), {"by.hand-1"})
                self.assertIn("by.hand", self.listed(daemon))
                self.assertTrue(self.answers(daemon, "by.hand"))
        finally:
            engine.thaw()
        for daemon in (here, there):
            until(partial(self.is_fresh, daemon, "by.hand"), 10)
        self.assertQuiet(here, there)


class Session:
    """One WebSocket client that publishes and, behind another sidecar, one that hears it.

    :ivar heard: messages that came. :ivar refused: errors that the publisher was told.
    """

    def __init__(self, here: Daemon, there: Daemon) -> None:
        self.heard = self.refused = self._said = 0
        self._publisher = WebSocket.open(_connect, here.port, "/broker?topic=talk")
        self._subscriber = WebSocket.open(_connect, there.port, "/broker?topic=talk")
        self._publishing = Repeating(self._publish, 0.05)
        for listen in (self._listen_to_errors, self._listen):
            threading.Thread(target=listen, daemon=True).start()

    def _publish(self) -> None:
        self._said += 1
        self._publisher.send(f"message {self._said}")

    def _listen_to_errors(self) -> None:
        while isinstance(said := self._publisher.receive(300), str):
            self.refused += '"code"' in said and "503" in said

    def _listen(self) -> None:
        while isinstance(self._subscriber.receive(300), str):
            self.heard += 1

    def __enter__(self) -> Session:
        self._publishing.__enter__()
        until(lambda: self.heard > 0, 10)
        return self

    def __exit__(self, *what: Any) -> None:
        self._publishing.__exit__(*what)


class SightTests(EngineCase):
    """Two sidecars on one engine see alike."""

    TRIES = 5

    def sight(self, kind: str) -> None:
        engine, port = self.engine(kind), self.app()
        here, there = self.sidecar(engine), self.sidecar(engine)
        come, gone = [], []
        for turn in range(self.TRIES):
            name = f"seen.{turn}"
            self.assertFalse(self.answers(there, name))
            self.assertEqual(self.register(here, name, port), 200)
            come.append(until(partial(self.answers, there, name), 30, 0.01))
            # What is there for a while is what most services are.
            time.sleep(0.3)
            node = {"id": f"{name}-1", "address": "127.0.0.1", "port": port}
            body = json.dumps({"name": name, "nodes": [node]})
            self.assertEqual(here.request("DELETE", "/registry", body).status, 200)
            gone.append(until(partial(self.silent, there, name), 30, 0.01))
        print(f" [{kind}: come {_ms(come)}, gone {_ms(gone)}]", end="")
        self.assertLess(statistics.median(come), 0.2, come)
        self.assertLess(statistics.median(gone), 0.2, gone)
        self.assertQuiet(here, there)

    def test_etcd(self) -> None:
        """What registers through one is callable through the other within 200 ms, and gone within 200 ms."""
        self.sight("etcd")

    def test_consul(self) -> None:
        """What registers through one is callable through the other within 200 ms, and gone within 200 ms."""
        self.sight("consul")


def _ms(times: list[float]) -> str:
    return "/".join(f"{1000 * each:.0f}" for each in times) + " ms"


class MultitudeTests(EngineCase):
    """2,000 services of five nodes each, written by others."""

    SERVICES, NODES = 2000, 5

    def multitude(self, kind: str) -> None:
        engine, port = self.engine(kind), self.app()
        all_of_them = world(self.SERVICES, self.NODES, port)
        engine.put(all_of_them)
        began = time.monotonic()
        daemon = self.sidecar(engine)
        started = time.monotonic()
        self.assertEqual(self.listed(daemon), {each.name for each in all_of_them})
        print(f" [{kind}: up in {started - began:.2f} s, listed in {time.monotonic() - started:.2f} s]", end="")
        self.assertLess(time.monotonic() - started, 10)
        for service in all_of_them[::97]:
            self.assertEqual(self.nodes(daemon, service.name), {node.id for node in service.nodes})
            self.assertTrue(self.answers(daemon, service.name))
        # Early in the list, in the middle, and last; some that were asked for and one that was not.
        gone = set()
        for service in (all_of_them[0], all_of_them[1001], all_of_them[-1]):
            self.change(engine, daemon, service, port)
            gone.add(service.name)
        engine.put([Service("new.comer", "1", nodes=(Node("new.comer-1", "127.0.0.1", port),))])
        until(lambda: self.answers(daemon, "new.comer"), 5)
        left = {"new.comer", *(each.name for each in all_of_them if each.name not in gone)}
        until(lambda: self.listed(daemon) == left, 5)
        self.assertQuiet(daemon)

    def change(self, engine: Running, daemon: Daemon, service: Service, port: int) -> None:
        """Others add a node, take nodes out, and take the last one out."""
        known = {node.id for node in service.nodes}
        sixth = evolve(service, nodes=(Node(f"{service.name}-sixth", "127.0.0.1", port),))
        engine.put([sixth])
        until(lambda: self.nodes(daemon, service.name) == {*known, f"{service.name}-sixth"}, 5)
        engine.remove(evolve(service, nodes=(*sixth.nodes, *service.nodes[:4])))
        until(lambda: self.nodes(daemon, service.name) == {service.nodes[4].id}, 5)
        engine.remove(service)
        until(lambda: not self.answers(daemon, service.name), 5)

    def test_etcd(self) -> None:
        """All are listed, described and called, and what changes is seen."""
        self.multitude("etcd")

    def test_consul(self) -> None:
        """All are listed, described and called, and what changes is seen."""
        self.multitude("consul")


class MalformedTests(EngineCase):
    """Records that no go-micro wrote stand beside one that it did."""

    def malformed(self, engine: Running, bad: Mapping[str, Any], good: Any, port: int, kept: set[str]) -> None:
        """:param kept: those of the bad whose node is there all the same. (One without a port is no fault at all.)"""
        records = [("mixed", name, value) for name, value in bad.items()]
        engine.put_raw([("mixed", "mixed-good", good), *records[::2]])
        engine.put([Service("other", "1", nodes=(Node("other-1", "127.0.0.1", port),))])
        daemon = self.sidecar(engine)
        for there in (records[::2], records, records):
            there_and_kept = {name for _, name, _ in there} & kept
            self.assertEqual(self.nodes(daemon, "mixed"), {"mixed-good", *there_and_kept})
            self.assertTrue(self.answers(daemon, "mixed"))
            self.assertTrue(self.answers(daemon, "other"))
            self.assertLessEqual({"mixed", "other"}, {each["name"] for each in daemon.request("GET", "/registry").json})
            # Others' changes have it read again. (From the second round on the other half is there too.)
            engine.put_raw(records[1::2])
            engine.put([Service("other", "1", nodes=(Node("other-2", "127.0.0.1", port),))])
            engine.remove(Service("other", "1", nodes=(Node("other-2", "127.0.0.1", port),)))
            time.sleep(0.3)
        portless = {"bad-no-port", "bad-no-address"} & kept
        for name in set(bad) - portless:
            lines = re.findall(rf"^.*\b{name}(?![\w-]).*$", daemon.output, re.MULTILINE)
            self.assertEqual(len(lines), 1, f"{name}: {lines}")
            self.assertIn("malformed", lines[0])
            self.assertLess(len(lines[0]), 1000)
        told = [line for line in daemon.output.splitlines() if "malformed" in line]
        self.assertEqual(len(told), len(bad) - len(portless), daemon.output)
        self.assertQuiet(daemon)

    def test_etcd(self) -> None:
        """Each is told of in one line that names it, and hides nothing else; a node that can be read stays."""
        engine, port = self.engine("etcd"), self.app()

        def record(name: str, **node: Any) -> bytes:
            return orjson.dumps({"name": "mixed", "version": "1", "nodes": [{"id": name, **node}]})

        bad: dict[str, bytes] = {
            "bad-not-text": b"\xff\xfe\x00",
            "bad-hex-of-old": b"zz789c",
            "bad-packed": zlib.compress(b'{"name": "mixed"}'),
            "bad-bomb": zlib.compress(bytes(300_000_000))[:400_000],
            "bad-bottomless": b"[" * 1_000_000,
            "bad-empty": b"",
            "bad-array": b"[]",
            "bad-number": b"7",
            "bad-name-of-number": b'{"name": 7, "nodes": []}',
            "bad-nodes-of-text": b'{"name": "mixed", "nodes": "none"}',
            "bad-no-nodes": b'{"name": "mixed", "nodes": null}',
            "bad-port-of-text": record("bad-port-of-text", address="127.0.0.1", port="ninety"),
            "bad-metadata-of-list": record("bad-metadata-of-list", address=f"127.0.0.1:{port}", metadata=[1]),
            "bad-no-address": record("bad-no-address"),
            "bad-no-port": record("bad-no-port", address="127.0.0.1"),
        }
        service = Service("mixed", "1", nodes=(Node("mixed-good", "127.0.0.1", port),))
        self.malformed(
            engine, bad, etcd.value(service, service.nodes[0]), port, {"bad-metadata-of-list", "bad-no-port"}
        )

    def test_consul(self) -> None:
        """A bad tag is told of in one line of the log, and is left out; its node stays, and hides nothing else."""
        engine, port = self.engine("consul"), self.app()

        def record(name: str, *tags: str, **more: Any) -> dict[str, Any]:
            return {"ID": name, "Address": "127.0.0.1", "Port": port, "Tags": [*tags, consul_version], **more}

        def packed(text: bytes) -> str:
            return zlib.compress(text).hex()

        consul_version = f"v-{packed(b'1')}"
        bad = {
            each["ID"]: each
            for each in (
                record("bad-hex", "t-zz"),
                record("bad-odd-hex", "e-789"),
                record("bad-zlib", f"t-{b'not zlib at all'.hex()}"),
                record("bad-cut-short", f"t-{packed(b'{}')[:-8]}"),
                record("bad-bomb", f"e-{packed(bytes(60_000_000))}"),
                record("bad-no-json", f"t-{packed(b'{')}"),
                record("bad-bottomless", f"e-{packed(b'[' * 200_000)}"),
                record("bad-metadata-of-list", f"t-{packed(b'[1]')}"),
                record("bad-metadata-of-number", "t-" + packed(b'{"a": 1}')),
                record("bad-endpoint-of-number", f"e-{packed(b'7')}"),
                record("bad-version-not-text", f"v-{packed(bytes([0xFF, 0xFE]))}"),
                record("bad-no-address", Address="", Port=0),
                record("bad-no-port", Port=0),
            )
        }
        service = Service("mixed", "1", nodes=(Node("mixed-good", "127.0.0.1", port),))
        self.malformed(engine, bad, consul.registration(service, service.nodes[0], None), port, set(bad))
