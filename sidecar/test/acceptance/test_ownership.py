"""One id, two sidecars: whose registration it is stays, and what others take out comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.engines import Running
from sidecar.test.doubles.programs.process import missing

PROGRAMS = {"etcd": "etcd", "consul": "consul", "nats": "nats-server"}


class Ownership(SynchronousTestCase):
    timeout = 180

    def start(self, kind: str) -> Running:
        reason = missing(PROGRAMS[kind])
        if reason is not None:
            raise SkipTest(reason)
        engine = Running(kind, Path(self.mktemp()).absolute())
        self.addCleanup(engine.stop)
        engine.start()
        return engine

    def sidecar(self, engine: Running, *flags: str) -> Daemon:
        daemon = running_daemon([f"--registry={engine.kind}", f"--registry_address=127.0.0.1:{engine.port}", *flags])
        self.addCleanup(daemon.stop)
        return daemon

    def soon(self, true: Callable[[], bool], what: str) -> None:
        try:
            until(true, 30.0)
        except TimeoutError as error:
            self.fail(f"{what}: {error}")

    def app(self, engine: Running) -> Daemon:
        return self.sidecar(engine, "--server_name=app", "--server_id=app-1", "--server_address=127.0.0.1:9090")

    @staticmethod
    def known(daemon: Daemon) -> bool:
        return daemon.request("GET", "/registry?service=app").status == 200

    def health(self, daemon: Daemon) -> Any:
        return daemon.request("GET", "/health").json

    def old_one_stops(self, kind: str) -> None:
        engine = self.start(kind)
        old = self.app(engine)
        self.soon(lambda: self.known(old), "the old one is registered")
        new = self.app(engine)
        self.soon(lambda: "Registering app-1" in new.output, "the new one registers")
        if kind != "nats":  # where every peer answers for itself, both do
            self.soon(lambda: "belongs to another live registration" in old.output, "the old one notices")
            self.assertIn("another live registration", json.dumps(self.health(old)))
        old.signal()
        self.assertEqual(old.wait(), 0)
        third = self.sidecar(engine)
        self.soon(lambda: self.known(third), "the new one stays")
        self.assertTrue(self.known(new))
        new.signal()
        self.assertEqual(new.wait(), 0)
        self.soon(lambda: not self.known(third), "the new one leaves")

    def somebody_takes_it_out(self, kind: str) -> None:
        engine = self.start(kind)
        daemon, stranger = self.app(engine), self.sidecar(engine)
        self.soon(lambda: self.known(stranger), "registered")
        body = json.dumps({"name": "app", "nodes": [{"id": "app-1", "address": "127.0.0.1", "port": 9090}]})
        self.assertEqual(stranger.request("DELETE", "/registry", body).status, 200)
        self.soon(lambda: "Registering app-1 again" in daemon.output, "it is registered again")
        self.soon(lambda: self.known(stranger), "it is back")

    def test_etcd(self) -> None:
        """etcd: the newer one stays when the older one stops."""
        self.old_one_stops("etcd")

    def test_consul(self) -> None:
        """Consul: likewise."""
        self.old_one_stops("consul")

    def test_nats(self) -> None:
        """NATS: likewise."""
        self.old_one_stops("nats")

    def test_taken_out_of_etcd(self) -> None:
        """etcd: a node that a stranger deregisters comes back."""
        self.somebody_takes_it_out("etcd")

    def test_taken_out_of_consul(self) -> None:
        """Consul: likewise."""
        self.somebody_takes_it_out("consul")

    def test_nats_says_nothing_out_of_order(self) -> None:
        """A write in the moment of the start is waited for, nobody's answer is no malformed one, a stop warns of
        nothing."""
        engine = self.start("nats")
        daemon = self.sidecar(engine, "--log_format=json")
        node = {"id": "early-1", "address": "127.0.0.1", "port": 9090}
        body = json.dumps({"name": "early", "nodes": [node]})
        self.assertEqual(daemon.request("POST", "/registry", body).status, 200)
        self.assertEqual(daemon.request("GET", "/registry?service=nobody").status, 404)
        daemon.signal()
        self.assertEqual(daemon.wait(), 0)
        self.assertNotIn('"level": "warn"', daemon.output)
