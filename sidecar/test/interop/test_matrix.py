"""Real go-micro programs of every generation meet the sidecar in every registry: one test a row of the matrix."""

from __future__ import annotations

import atexit
import base64
import json
import time
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs import matrix, say, world
from sidecar.test.doubles.programs.matrix import Row
from sidecar.test.doubles.programs.world import HTTP_APP, JSON, RPC_APP, World

#: Seconds that news may take through a registry on a loaded machine.
PATIENCE = 20.0

MESSAGE = {"said": "größe", "number": 9007199254740993}


class Mismatch(Exception):
    """Something else came than what should have come."""


def expect(got: object, wanted: object) -> None:
    if got != wanted:
        raise Mismatch(f"{got!r} instead of {wanted!r}")


def until(attempt: Callable[[], None], patience: float = PATIENCE) -> None:
    """``attempt`` again until it does not raise, for as long as news may take."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return attempt()
        except Exception:  # noqa: PERF203  # not there yet, or never: the last one decides
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Meeting:
    """One program of go-micro and the sidecars of a world."""

    def __init__(self, world: World, row: Row) -> None:
        self.world = world
        self.row = row
        self.protocol = ("--protocol", row.protocol)
        self.flags = (*world.flags["http"], *self.protocol)
        self.cells: dict[str, Callable[[], None]] = {
            "call": self.call,
            "error": self.error,
            "metadata": self.metadata,
            "timeout": self.timeout,
            "stream": self.stream,
            "called": lambda: self.called(RPC_APP),
            "called http": lambda: self.called(HTTP_APP),
            "http in": lambda: self.published_by_it("http"),
            "http out": lambda: self.published_by_us("http"),
            "nats in": lambda: self.published_by_it("nats"),
            "nats out": lambda: self.published_by_us("nats"),
        }

    def outcomes(self) -> dict[str, str]:
        """``ok`` or what went wrong, by cell. All are tried, whatever became of the others."""
        service = say.running(
            self.row.generation, "serve", "--name", self.row.name, *self.flags, prefix=self.world.prefix
        )
        out = {}
        try:
            for cell, attempt in self.cells.items():
                if self.row.reason(cell) is not None:
                    continue
                try:
                    attempt()
                    out[cell] = "ok"
                except Exception as error:
                    out[cell] = f"{type(error).__name__}: {error}"
        finally:
            service.stop()
        return out

    # --- we call it

    def rpc(self, method: str, request: object, **headers: str) -> tuple[int, Any]:
        body = json.dumps({"service": self.row.name, "method": method, "request": request})
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.world.ask("http", "POST", "/rpc", body, {**JSON, **names})
        return answer.status, answer.json

    def call(self) -> None:
        until(lambda: expect(self.rpc("Say.Hello", {"name": "John"}), (200, {"msg": "Hello John"})))
        expect(self.rpc("Say.Big", {"id": 9223372036854775807}), (200, {"id": 9223372036854775807}))

    def error(self) -> None:
        fault = {"id": "srv.say", "code": 409, "detail": "not today", "status": "Conflict"}
        expect(self.rpc("Say.Fail", {"id": "srv.say", "code": 409, "detail": "not today"}), (409, fault))
        status, unknown = self.rpc("Say.Nope", {})
        if status < 400 or "Nope" not in unknown["detail"]:
            raise Mismatch(f"an unknown method was answered by {status} {unknown}")

    def metadata(self) -> None:
        status, answer = self.rpc("Say.Meta", {}, X_Foo="bar")
        expect((status, answer["header"].get("X-Foo")), (200, "bar"))

    def timeout(self) -> None:
        status, fault = self.rpc("Say.Slow", {"ms": 5000}, Timeout="300ms")
        expect((status, fault["code"]), (504, 504))
        expect(self.rpc("Say.Slow", {"ms": 1}), (200, {"ms": 1}))

    def stream(self) -> None:
        talk = self.world.websocket("http", f"/rpc/stream?service={self.row.name}&method=Say.Stream")
        try:
            for message in ({"name": "John", "count": 2}, {"name": "Ann", "count": 1, "last": True}):
                talk.send(json.dumps(message))
            for greeting in ("Hello John 1", "Hello John 2", "Hello Ann 1"):
                text = talk.receive(PATIENCE)
                expect(json.loads(text) if isinstance(text, str) else text, {"msg": greeting})
            expect(talk.receive(PATIENCE), 1000)
        finally:
            talk.close()

    # --- it calls us

    def called(self, app: str) -> None:
        def greeted() -> None:
            (event,) = self.say("call", "--metadata", "X-Foo=bar", *self.flags, app, "Say.Hello", '{"name":"John"}')
            expect(event.get("body", event), {"msg": "Hello John", "foo": "bar"})

        until(greeted)
        (event,) = self.say("call", *self.flags, app, "Say.Fail", "{}")
        fault = event.get("error")
        expect((fault["code"], fault["detail"]) if isinstance(fault, dict) else event, (409, "not today"))

    def say(self, command: str, *arguments: str) -> list[say.Event]:
        return say.run(self.row.generation, command, *arguments, prefix=self.world.prefix)

    # --- messages

    def published_by_it(self, broker: str) -> None:
        topic = f"{self.row.name}.in"
        ear = self.world.websocket(broker, f"/broker?topic={quote(topic)}")

        def heard() -> None:
            self.say("publish", *self.world.flags[broker], *self.protocol, topic, json.dumps(MESSAGE))
            frame = ear.receive(2.0)
            if isinstance(frame, int):
                raise Mismatch(f"the WebSocket was closed with {frame}")
            message = json.loads(frame)
            expect(json.loads(base64.b64decode(message["Body"])), MESSAGE)
            expect(message["Header"]["Content-Type"], "application/json")

        try:
            until(heard)
        finally:
            ear.close()

    def published_by_us(self, broker: str) -> None:
        topic = f"{self.row.name}.out"
        flags = (*self.world.flags[broker], *self.protocol)
        ear = say.running(
            self.row.generation, "subscribe", "--name", f"{topic}.ear", *flags, topic, prefix=self.world.prefix
        )

        def heard() -> None:
            answer = self.world.ask(broker, "POST", f"/broker?topic={quote(topic)}", json.dumps(MESSAGE))
            expect(answer.status, 200)
            messages = ear.heard(1, 2.0)
            if not messages:
                raise Mismatch("POST /broker answered 200, and nothing arrived")
            expect(json.loads(messages[0]["body"]), MESSAGE)

        try:
            until(heard)
        finally:
            ear.stop()


class MatrixOf(SynchronousTestCase):
    """The rows of one registry, in one world that the first row makes and the last one ends."""

    registry: ClassVar[str] = ""
    world: ClassVar[World | None] = None
    left: ClassVar[set[str]] = set()

    @classmethod
    def entered(cls) -> World:
        if cls.world is None:
            cls.world = World.make(cls.registry)
            # For when only some of the rows are run.
            atexit.register(cls.world.close)
        return cls.world

    def tearDown(self) -> None:
        self.left.discard(self._testMethodName)
        if not self.left and self.world is not None:
            self.world.close()
            type(self).world = None

    def meet(self, row: Row) -> None:
        try:
            outcomes = Meeting(self.entered(), row).outcomes()
        except Exception as error:
            matrix.keep(row, {"": f"{type(error).__name__}: {error}"})
            raise
        matrix.keep(row, outcomes)
        wrong = [f"{matrix.CELLS[cell]}: {outcome}" for cell, outcome in outcomes.items() if outcome != "ok"]
        if wrong:
            self.fail("\n".join([f"go-micro {row.peer} through {row.registry}", *wrong]))


def _rows_of(registry: str) -> type[MatrixOf]:
    """A test case with one test a row."""

    def test(row: Row) -> Callable[[MatrixOf], None]:
        def run(self: MatrixOf) -> None:
            self.meet(row)

        run.__doc__ = f"go-micro {row.peer} and the sidecar understand one another in every cell, through {registry}."
        return run

    tests = {f"test_{row.peer.replace('.', '_').replace(' ', '_')}": test(row) for row in matrix.rows(registry)}
    skip = say.missing(*say.GENERATIONS) or world.why_not(registry)
    more: dict[str, Any] = {"registry": registry, "left": set(tests), "__module__": __name__, **tests}
    return type(f"Through{registry.title()}", (MatrixOf,), {**more, "skip": skip} if skip else more)


ThroughConsul = _rows_of("consul")
ThroughEtcd = _rows_of("etcd")
ThroughMdns = _rows_of("mdns")
ThroughNats = _rows_of("nats")
