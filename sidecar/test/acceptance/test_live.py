"""What happens now, over real sockets: rates each second, calls as they end, the last failed ones."""

from __future__ import annotations

import http.client
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli import events
from sidecar.test.acceptance.test_traces import Heard
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.process import free_port


class Stream:
    """A stream of events that is read. :ivar status: of the answer. :ivar body: of an answer that is no stream."""

    def __init__(self, daemon: Daemon, path: str, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        self._connection.request("GET", path, headers=headers)
        self.answer = self._connection.getresponse()
        self.status = self.answer.status
        self._events = iter(events.EventReader(self.answer))

    def until(self, name: str, wanted: Any = lambda data: True) -> Any:
        """The data of the first event of that name that is ``wanted``; others are passed over."""
        return next(
            data for data in (json.loads(event.data) for event in self._events if event.name == name) if wanted(data)
        )

    def close(self) -> None:
        self._connection.close()


class Live(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = self.start()
        self.node = Heard()
        self.addCleanup(self.node.stop)
        self.dead = free_port()
        nodes = [{"id": f"foo-{port}", "address": "127.0.0.1", "port": port} for port in (self.node.port, self.dead)]
        self.assertEqual(
            self.daemon.request("POST", "/registry", json.dumps({"name": "foo", "nodes": nodes})).status, 200
        )

    def start(self, *flags: str) -> Daemon:
        daemon = running_daemon(["--log_format=json", *flags])
        self.addCleanup(daemon.stop)
        return daemon

    def stream(self, path: str, **headers: str) -> Stream:
        made = Stream(self.daemon, path, **headers)
        self.addCleanup(made.close)
        return made

    def call(self, address: int | None = None, **headers: str) -> int:
        asked: dict[str, Any] = {"service": "foo", "method": "A.B", "request": {"a": 1}}
        if address is not None:
            asked["address"] = f"127.0.0.1:{address}"
        told = {"Content-Type": "application/json", **headers}
        return self.daemon.request("POST", "/rpc", json.dumps(asked), told).status

    def test_rates(self) -> None:
        """The hour comes first, then an event each second, in which the calls made are counted by service and node, and
        the dead node stands first, with why."""
        stream = self.stream("/live?history=1")
        self.assertEqual(stream.status, 200)
        self.assertEqual(stream.until("history")["width"], 10.0)
        stream.until("live")
        self.assertEqual([self.call(self.node.port) for _ in range(3)], [200] * 3)
        self.assertEqual(self.call(self.dead), 502)
        event = stream.until("live", lambda told: told["nodes"] and told["nodes"][0]["why"])
        self.assertIn("connection refused", event["nodes"][0]["why"])
        self.assertEqual(event["nodes"][0]["address"], f"127.0.0.1:{self.dead}")
        self.assertEqual((event["services"][0]["nodes_up"], event["services"][0]["nodes_down"]), (1, 1))
        self.assertEqual(event["services"][0]["success"], 0.75)
        self.assertEqual({engine["role"] for engine in event["engines"]}, {"registry", "broker"})

    def test_topics(self) -> None:
        """What is published is counted by topic."""
        stream = self.stream("/live")
        stream.until("live")
        self.assertEqual(self.daemon.request("POST", "/broker?topic=news", "{}").status, 200)
        event = stream.until("live", lambda told: told["topics"])
        self.assertEqual(event["topics"][0]["topic"], "news")
        self.assertGreater(event["topics"][0]["in"], 0)

    def test_tap(self) -> None:
        """Calls of one service are shown as they end, good and bad, with their receipts and without their bodies."""
        stream = self.stream("/tap?service=foo")
        self.call(self.node.port, **{"X-Request-Id": "one"})
        self.call(self.dead, **{"X-Request-Id": "two"})
        good, bad = stream.until("call"), stream.until("call")
        self.assertEqual((good["id"], good["outcome"], good["node"]), ("one", "answered", f"foo-{self.node.port}"))
        self.assertEqual((bad["id"], bad["outcome"], bad["receipt"]["id"]), ("two", "refused", "two"))
        self.assertNotIn("request", good)
        with_bodies = self.stream("/tap?bodies=1")
        self.call(self.node.port)
        self.assertEqual(json.loads(with_bodies.until("call")["request"]["text"]), {"a": 1})

    def test_errors(self) -> None:
        """The last failed calls, the newest first; those that went well are not among them."""
        self.call(self.node.port)
        for number in range(3):
            self.call(self.dead, **{"X-Request-Id": str(number)})
        told = self.daemon.request("GET", "/errors?service=foo&limit=2").json
        self.assertEqual([each["id"] for each in told], ["2", "1"])
        self.assertEqual(told[0]["receipt"]["attempts"][0]["outcome"], "refused")
        self.assertEqual(self.daemon.request("GET", "/errors?limit=0").status, 400)
        self.assertEqual(self.daemon.request("GET", "/errors?service=bar").json, [])
