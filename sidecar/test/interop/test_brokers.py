"""Real go-micro programs meet the sidecar on RabbitMQ, on Redis and on JetStream: one test a row of the brokers' table."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import WebSocket, ask
from sidecar.test.doubles.programs import matrix, process, say
from sidecar.test.doubles.programs.daemon import running_daemon
from sidecar.test.doubles.programs.matrix import BrokerRow
from sidecar.test.doubles.programs.say import Running

JSON = {"Content-Type": "application/json"}
MESSAGE = {"said": "größe", "number": 9007199254740993}
OURS = {"said": "are we there?"}
PATIENCE = 20.0


class Mismatch(Exception):
    """Something else came than what should have come."""


def expect(got: object, wanted: object) -> None:
    if got != wanted:
        raise Mismatch(f"{got!r} instead of {wanted!r}")


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.settimeout(60)
    return sock


class BrokerMeeting:
    """One generation and a sidecar on the same server."""

    def __init__(self, row: BrokerRow, things: ExitStack) -> None:
        self.row = row
        self.things = things
        start = {
            "rabbitmq": process.start_rabbitmq,
            "redis": process.start_redis,
            "events": lambda port: process.start_nats(port, ["-js", "-sd", "data"]),
        }[row.broker]
        port = process.free_port()
        server = start(port)
        things.callback(server.stop)
        kind = "nats" if row.broker == "events" else row.broker
        more = ["--broker_events_create"] if row.broker == "events" else []
        self.daemon = running_daemon(["--broker", kind, "--broker_address", f"127.0.0.1:{port}", *more])
        things.callback(self.daemon.stop)
        address = f"amqp://guest:guest@127.0.0.1:{port}" if kind == "rabbitmq" else f"127.0.0.1:{port}"
        self.flags = ("--broker", kind, "--broker-address", address)
        self.events = "&events=1" if row.broker == "events" else ""
        self.words = ("emit", "consume") if self.events else ("publish", "subscribe")
        self.cells: dict[str, Callable[[], None]] = {
            "in": lambda: self.published_by_it("in"),
            "out": lambda: self.published_by_us("out"),
            "raw in": lambda: self.published_by_it("rawin", "--raw"),
            "raw out": lambda: self.published_by_us("rawout", "--raw"),
            "group": self.group,
            "kept": self.kept,
        }

    def outcomes(self) -> dict[str, str]:
        """``ok`` or what went wrong, by cell. All are tried, whatever became of the others."""
        out = {}
        for cell, attempt in self.cells.items():
            if self.row.reason(cell) is not None:
                continue
            try:
                attempt()
                out[cell] = "ok"
            except Exception as error:
                out[cell] = f"{type(error).__name__}: {error}"
        return out

    def websocket(self, query: str) -> WebSocket:
        found = WebSocket.open(connect, self.daemon.port, f"/broker?{query}{self.events}")
        self.things.callback(found.close)
        return found

    def post(self, topic: str, message: Any) -> None:
        path = f"/broker?topic={quote(topic)}{self.events}"
        expect(ask(connect, self.daemon.port, "POST", path, json.dumps(message), JSON).status, 200)

    def say(self, topic: str, *messages: Any, more: tuple[str, ...] = ()) -> None:
        texts = [json.dumps(message) for message in messages]
        said = say.run(self.row.generation, self.words[0], *self.flags, "--metadata", "X-Foo=bar", *more, topic, *texts)
        expect([event["event"] for event in said], ["published"] * len(messages))

    def listening(self, *arguments: str, more: tuple[str, ...] = ()) -> Running:
        found = say.running(self.row.generation, self.words[1], *self.flags, *more, *arguments)
        self.things.callback(found.stop)
        return found

    def told(self, websocket: WebSocket, patience: float = 2.0) -> Any:
        frame = websocket.receive(patience)
        if isinstance(frame, int):
            raise Mismatch(f"the WebSocket was closed with {frame}")
        return json.loads(frame)

    def until(self, attempt: Callable[[], None]) -> None:
        """go-micro subscribes behind its program's back, so what is said first may be lost."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return attempt()
            except Exception:  # noqa: PERF203  # not there yet, or never: the last one decides
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def published_by_it(self, topic: str, *more: str) -> None:
        websocket = self.websocket(f"topic={topic}")
        self.until(lambda: self._hears_us(topic, websocket))
        self.say(topic, MESSAGE, more=more)
        body = OURS
        while body == OURS:
            message = self.told(websocket, PATIENCE)
            body = json.loads(base64.b64decode(message["Body"]))
        expect(body, MESSAGE)
        header = message["Header"]
        expect((header.get("Micro-Topic", topic), header["Content-Type"]), (topic, "application/json"))
        expect(header.get("X-Foo"), "bar")

    def _hears_us(self, topic: str, websocket: WebSocket) -> None:
        """The sidecar has met the server, and its subscription stands: what Go says before that is nobody's."""
        self.post(topic, OURS)
        expect(json.loads(base64.b64decode(self.told(websocket)["Body"])), OURS)

    def published_by_us(self, topic: str, *more: str) -> None:
        there = self.listening(topic, more=more)

        def heard() -> None:
            self.post(topic, MESSAGE)
            messages = there.heard(1, 2.0)
            if not messages:
                raise Mismatch("POST /broker answered 200, and nothing arrived")
            expect(json.loads(messages[0]["body"]), MESSAGE)

        self.until(heard)

    def group(self) -> None:
        """Each message reaches one member of a group, ours or Go's, and both get some."""
        there = self.listening("shared", "group", more=() if self.events else ("--raw",))
        websocket = self.websocket("topic=shared&queue=group")
        self.until(lambda: self._both(there, websocket))
        sent = list(range(1000, 1100))
        for number in sent:
            self.post("shared", number)
        ours: list[int] = []
        with contextlib.suppress(TimeoutError):
            while True:
                ours.append(int(base64.b64decode(self.told(websocket, 2.0)["Body"])))
        theirs = [int(message["body"]) for message in there.messages]
        expect(sorted(number for number in ours + theirs if number >= 1000), sent)
        if not ours or not theirs:
            raise Mismatch(f"one side got nothing: {len(ours)} here, {len(theirs)} there")

    def _both(self, there: Running, websocket: WebSocket) -> None:
        """Go's member is there: it got something."""
        self.post("shared", 1)
        if not there.messages:
            raise Mismatch("Go's member of the group gets nothing")

    def kept(self) -> None:
        """What Go publishes while our durable subscriber is away is there when it comes again, and until it says so."""
        query = "topic=kept&queue=kept&ack=1" if self.events else "topic=kept&durable=kept&ack=1"
        self.websocket(query).close()
        time.sleep(0.5)
        self.say("kept", 1, 2)
        first = self.websocket(query)
        got = [self.told(first, PATIENCE) for _ in range(2)]
        expect(sorted(base64.b64decode(message["Body"]).strip() for message in got), [b"1", b"2"])
        first.send(json.dumps({"ack": got[0]["ID"]}))
        time.sleep(0.5)
        first.close()
        again = self.told(self.websocket(query), PATIENCE)
        expect((again["Body"], again["Header"].get("Micro-Redelivered")), (got[1]["Body"], "true"))


class OnBrokers(SynchronousTestCase):
    def meet(self, row: BrokerRow) -> None:
        with ExitStack() as things:
            try:
                outcomes = BrokerMeeting(row, things).outcomes()
            except Exception as error:
                matrix.keep_broker(row, {"": f"{type(error).__name__}: {error}"})
                raise
        matrix.keep_broker(row, outcomes)
        wrong = [f"{matrix.BROKER_CELLS[cell]}: {outcome}" for cell, outcome in outcomes.items() if outcome != "ok"]
        if wrong:
            self.fail("\n".join([f"go-micro {row.generation} on {row.broker}", *wrong]))


def _tests() -> None:
    for row in matrix.BROKER_ROWS:

        def test(self: OnBrokers, row: BrokerRow = row) -> None:
            self.meet(row)

        test.__doc__ = f"go-micro {row.generation} and the sidecar understand one another on {row.broker}."
        program = {"rabbitmq": "rabbitmq-server", "redis": "redis-server", "events": "nats-server"}[row.broker]
        skip = process.missing(program) or say.missing(row.generation)
        if skip:
            test.skip = skip  # type: ignore[attr-defined]
        setattr(OnBrokers, f"test_{row.broker}_{row.generation.replace('.', '_')}", test)


_tests()
