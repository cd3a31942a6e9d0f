"""Watching the registry of a real sidecar: by blocking queries, by events, by a WebSocket, by ``micro watch``."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.clients.blocking import WebSocket
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Answer, Daemon, environment, running_daemon, script
from sidecar.test.doubles.programs.engines import Running
from sidecar.test.doubles.programs.process import missing

#: Seconds for something that has to happen on a loaded machine.
PATIENCE = 60.0
#: The program behind each engine.
PROGRAMS = {"etcd": "etcd", "consul": "consul"}


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


class Events:
    """A reader of ``/registry/watch``."""

    def __init__(self, daemon: Daemon, query: str = "", last: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
        headers = {"Last-Event-ID": last} if last else {}
        self._connection.request("GET", f"/registry/watch{query}", headers=headers)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.index = self._answer.headers["X-Micro-Index"]

    def __iter__(self) -> Iterator[tuple[str, str, Any]]:
        """Name, id and data of each event, until the stream ends."""
        told: dict[str, str] = {}
        while line := self._answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if line != "\n":
                told[name] = value
            elif "data" in told:
                yield told["event"], told["id"], json.loads(told["data"])
            told = told if line != "\n" else {}

    def close(self) -> None:
        self._connection.close()


class WatchCase(SynchronousTestCase):
    timeout = 240

    def daemon(self, *flags: str) -> Daemon:
        daemon = running_daemon([*flags])
        self.addCleanup(daemon.stop)
        return daemon

    def register(self, daemon: Daemon, name: str, port: int = 80, method: str = "POST") -> None:
        node = {"id": f"{name}-1", "address": "10.1.2.3", "port": port}
        body = json.dumps({"name": name, "version": "1", "nodes": [node]})
        self.assertEqual(daemon.request(method, "/registry", body).status, 200)

    def events(self, daemon: Daemon, query: str = "", last: str = "") -> Iterator[tuple[str, str, Any]]:
        events = Events(daemon, query, last)
        self.addCleanup(events.close)
        self.assertEqual(events.status, 200)
        return iter(events)

    def asking(self, daemon: Daemon, path: str) -> tuple[threading.Thread, list[Answer]]:
        """A request on its way, and its answer once it is there."""
        answers: list[Answer] = []
        asking = threading.Thread(target=lambda: answers.append(daemon.request("GET", path)))
        asking.start()
        return asking, answers

    def under_way(self, daemon: Daemon) -> int:
        """How many watch or wait."""
        (line,) = (
            line for line in daemon.request("GET", "/metrics").body.decode().splitlines() if line.startswith(WATCHERS)
        )
        return int(float(line.split(" ")[-1]))


#: The metric that tells how many watch or wait.
WATCHERS = "microsidecar_watchers "


class Watching(WatchCase):
    def test_blocking(self) -> None:
        """A blocking query is answered by its service's change and by no other's; one that is under way when the
        sidecar is told to leave is answered as it is."""
        daemon = self.daemon()
        self.register(daemon, "foo")
        index = daemon.request("GET", "/registry?service=foo").headers["x-micro-index"]
        asking, answers = self.asking(daemon, f"/registry?service=foo&index={index}")
        until(lambda: self.under_way(daemon) == 1, PATIENCE)
        self.register(daemon, "bar")
        self.register(daemon, "foo", 81)
        asking.join(PATIENCE)
        self.assertEqual(answers[0].json["nodes"][0]["port"], 81)
        index = answers[0].headers["x-micro-index"]
        asking, answers = self.asking(daemon, f"/registry?service=foo&index={index}")
        until(lambda: self.under_way(daemon) == 1, PATIENCE)
        daemon.signal(signal.SIGTERM)
        asking.join(PATIENCE)
        self.assertEqual((answers[0].status, answers[0].headers["x-micro-index"]), (200, index))
        self.assertEqual(daemon.wait(), 0)

    def test_events(self) -> None:
        """Events come as it happens; a reader goes on exactly where it was; a drain ends the stream in good order."""
        daemon = self.daemon()
        events = self.events(daemon)
        self.register(daemon, "foo")
        name, index, entry = next(events)
        self.assertEqual((name, entry["service"]["name"], str(entry["index"])), ("create", "foo", index))
        self.register(daemon, "bar")
        self.register(daemon, "foo", method="DELETE")
        again = self.events(daemon, last=index)
        self.assertEqual([next(again)[0] for _ in range(2)], ["create", "delete"])
        self.assertEqual(next(self.events(daemon, "?service=foo&index=1"))[0], "reset")
        daemon.signal(signal.SIGTERM)
        self.assertEqual([name for name, _, _ in events], ["create", "delete"])
        self.assertEqual(list(again), [])
        self.assertEqual(daemon.wait(), 0)

    def test_websocket(self) -> None:
        """A WebSocket on /registry is told of changes as the original told them."""
        daemon = self.daemon()
        everything = WebSocket.open(connect, daemon.port, "/registry")
        foo = WebSocket.open(connect, daemon.port, "/registry?service=foo")
        self.register(daemon, "bar")
        self.register(daemon, "foo")
        for watch, name in ((everything, "bar"), (everything, "foo"), (foo, "foo")):
            told = json.loads(str(watch.receive(PATIENCE)))
            self.assertEqual((list(told), told["Action"]), (["Action", "Service"], "create"))
            self.assertEqual((told["Service"]["name"], told["Service"]["nodes"][0]["port"]), (name, 80))

    def test_drain_does_not_wait(self) -> None:
        """POST /drain waits for calls, and not for those who watch."""
        daemon = self.daemon()
        self.events(daemon)
        self.assertEqual(daemon.request("POST", "/drain?timeout=20s").status, 200)

    def test_as_it_was(self) -> None:
        """The catalog as it was, also before a restart where it is kept on disk; 410 for what is not kept."""
        data = f"--data_dir={Path(self.mktemp()).absolute()}"
        daemon = self.daemon(data)
        self.register(daemon, "foo", 80)
        self.register(daemon, "foo", 81)
        self.register(daemon, "bar")
        first, second, third = daemon.request("GET", "/journal").json
        index = daemon.request("GET", "/registry?service=foo").headers["x-micro-index"]
        daemon.stop()
        daemon = self.daemon(data)
        self.register(daemon, "bar", method="DELETE")
        got = daemon.request("GET", f"/registry?service=foo&at={first['at']}")
        ports = (80, 81) if first["at"] != second["at"] else (81, 81)  # on a very fast machine
        self.assertEqual(got.json["nodes"][0]["port"], ports[0])
        got = daemon.request("GET", f"/registry?service=foo&at={second['at']}")
        self.assertEqual(got.json["nodes"][0]["port"], ports[1])
        self.assertEqual(daemon.request("GET", f"/registry?at={third['at']}").json, [{"name": "bar"}, {"name": "foo"}])
        gone = daemon.request("GET", "/registry?service=foo&at=2020-01-01T00:00:00Z")
        self.assertEqual((gone.status, "goes back to" in gone.json["detail"]), (410, True))
        names = [(name, entry["service"]["name"]) for name, _, entry in self.some(daemon, index, 2)]
        self.assertEqual(names[0], ("create", "bar"))

    def some(self, daemon: Daemon, last: str, count: int) -> list[tuple[str, str, Any]]:
        """The first events after ``last``."""
        events = self.events(daemon, last=last)
        return [next(events) for _ in range(count)]


class Commands(WatchCase):
    def micro(self, daemon: Daemon, *words: str) -> subprocess.Popen[str]:
        """``micro``, once it watches."""
        given = [script("micro"), f"--proxy_address=127.0.0.1:{daemon.port}", "watch", *words]
        micro = subprocess.Popen(
            given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment()}
        )
        self.addCleanup(micro.communicate)
        self.addCleanup(micro.kill)
        until(lambda: self.under_way(daemon) >= 1 or micro.poll() is not None, PATIENCE)
        return micro

    def test_words(self) -> None:
        """``micro watch`` prints a line a change, of one service where it is named, and leaves after --count."""
        daemon = self.daemon()
        micro = self.micro(daemon, "foo", "--count=2")
        self.register(daemon, "bar")
        self.register(daemon, "foo")
        self.register(daemon, "foo", method="DELETE")
        out, err = micro.communicate(timeout=PATIENCE)
        self.assertEqual((micro.returncode, err), (0, ""))
        came, left = out.splitlines()
        self.assertIn("foo 1  foo-1 at 10.1.2.3:80 came: registered", came)
        self.assertIn("foo 1  foo-1 at 10.1.2.3:80 left: deregistered", left)

    def test_json(self) -> None:
        """--output=json prints an entry a line; when the sidecar leaves, so does it, with 4."""
        daemon = self.daemon()
        micro = self.micro(daemon, "--output=json")
        self.register(daemon, "foo")
        assert micro.stdout is not None
        self.assertEqual(json.loads(micro.stdout.readline())["action"], "create")
        daemon.signal(signal.SIGTERM)
        out, err = micro.communicate(timeout=PATIENCE)
        self.assertEqual((micro.returncode, out), (4, ""))
        self.assertIn("ended the watch", err)


class WithEngines(WatchCase):
    def watched(self, kind: str) -> None:
        """What another sidecar registers in an engine is told of here, and wakes who waits for it."""
        reason = missing(PROGRAMS[kind])
        if reason is not None:
            raise SkipTest(reason)
        engine = Running(kind, Path(self.mktemp()).absolute())
        self.addCleanup(engine.stop)
        engine.start()
        one, other = self.daemon(*engine.flags), self.daemon(*engine.flags)
        events = self.events(one, "?service=foo")
        index = one.request("GET", "/registry?service=foo").headers["x-micro-index"]
        asking, answers = self.asking(one, f"/registry?service=foo&index={index}")
        until(lambda: self.under_way(one) == 2, PATIENCE)
        self.register(other, "bar")
        self.register(other, "foo")
        name, _, entry = next(events)
        self.assertEqual((name, entry["by"]), ("create", f"engine {kind}"))
        asking.join(PATIENCE)
        self.assertEqual((answers[0].status, answers[0].json["nodes"][0]["id"]), (200, "foo-1"))
        self.register(other, "foo", method="DELETE")
        self.assertEqual(next(events)[0], "delete")
        was = one.request("GET", f"/registry?service=foo&at={entry['at']}")
        self.assertEqual((was.status, one.request("GET", "/registry?service=foo").status), (200, 404))

    def test_etcd(self) -> None:
        """With etcd."""
        self.watched("etcd")

    def test_consul(self) -> None:
        """With Consul."""
        self.watched("consul")
