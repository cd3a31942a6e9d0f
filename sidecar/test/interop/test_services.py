"""Real go-micro services, registered with curl as the original's README shows, and called through /rpc."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs import say
from sidecar.test.doubles.clients.blocking import WebSocket
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.process import missing

#: mucp in three of its shapes, and v2, whose services speak gRPC.
GENERATIONS = ("v1.18.0", "v2.9.1", "v4.11.0", "v5.30.0")


def curl(*arguments: str) -> str:
    """What curl prints."""
    done = subprocess.run(["curl", "-sS", "-m", "60", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


class RegisteredByHand(SynchronousTestCase):
    """The daemon with everything embedded, and one service of each generation, known to it by POST /registry only."""

    skip = say.missing(*GENERATIONS) or missing("curl")

    daemon: Daemon

    def setUp(self) -> None:
        self.daemon = running_daemon()
        self.addCleanup(self.daemon.stop)
        for generation in GENERATIONS:
            service = say.running(generation, "serve", "--name", self.name(generation))
            self.addCleanup(service.stop)
            address, _, port = service.ready["address"].rpartition(":")
            node: dict[str, Any] = {"Port": int(port), "Address": address, "Id": service.ready["id"]}
            if service.ready["protocol"] == "grpc":
                node["Metadata"] = {"protocol": "grpc"}
            description = json.dumps({"Name": self.name(generation), "Nodes": [node]})
            curl("-H", "Content-Type: application/json", f"{self.daemon.url}/registry", "-d", description)

    def name(self, generation: str) -> str:
        return f"srv.{generation.replace('.', '-')}"

    def form(self, generation: str, method: str, request: str) -> str:
        """curl's form, byte for byte as the original's README has it."""
        return curl(
            "-d", f"service={self.name(generation)}", "-d", f"method={method}", "-d", f"request={request}",
            f"{self.daemon.url}/rpc",
        )  # fmt: skip

    def call(self, generation: str, method: str, request: Any = None, **headers: str) -> tuple[int, Any]:
        """:returns: status and JSON of a call in JSON."""
        body = json.dumps({"service": self.name(generation), "method": method, "request": request or {}})
        names = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        answer = self.daemon.request("POST", "/rpc", body, names)
        return answer.status, answer.json

    def test_good_answers(self) -> None:
        """A service of each generation answers through /rpc, asked by form and by JSON."""
        for generation in GENERATIONS:
            greeting = {"msg": "Hello John"}
            self.assertEqual(json.loads(self.form(generation, "Say.Hello", '{"name": "John"}')), greeting, generation)
            self.assertEqual(self.call(generation, "Say.Hello", {"name": "John"}), (200, greeting), generation)

    def test_request_as_text(self) -> None:
        """``request`` may be a string that holds JSON, as the original's CLI sends it."""
        for generation in GENERATIONS:
            self.assertEqual(
                self.call(generation, "Say.Hello", '{"name": "John"}'), (200, {"msg": "Hello John"}), generation
            )

    def test_numbers_keep_their_precision(self) -> None:
        """A 64-bit integer that a double cannot hold arrives, and comes back, digit for digit."""
        for generation in GENERATIONS:
            for number in (9223372036854775807, -9007199254740993):
                self.assertEqual(self.call(generation, "Say.Big", {"id": number}), (200, {"id": number}), generation)

    def test_coded_errors(self) -> None:
        """A service's error keeps its code, id and detail; the HTTP status is its code."""
        for generation in GENERATIONS:
            for code, reason in ((400, "Bad Request"), (409, "Conflict"), (503, "Service Unavailable")):
                fault = {"id": "srv.say", "code": code, "detail": "bad John", "status": reason}
                asked = {"id": "srv.say", "code": code, "detail": "bad John"}
                self.assertEqual(self.call(generation, "Say.Fail", asked), (code, fault), generation)

    def test_errors_without_a_code(self) -> None:
        """A plain Go error is a 500 whose detail is its text."""
        for generation in GENERATIONS:
            status, fault = self.call(generation, "Say.Fail", {"detail": "just text"})
            self.assertEqual((status, fault["code"]), (500, 500), generation)
            self.assertIn("just text", fault["detail"], generation)

    def test_unknown_methods(self) -> None:
        """A method or type that the service does not have is an error that names it."""
        for generation in GENERATIONS:
            for method, named in (("Say.Nope", "Nope"), ("Nope.Hello", "Nope")):
                status, fault = self.call(generation, method)
                self.assertGreaterEqual(status, 400, generation)
                self.assertIn(named, fault["detail"], generation)

    def test_undecodable_requests(self) -> None:
        """A request of the wrong type is the service's error, and the service lives on."""
        for generation in GENERATIONS:
            status, fault = self.call(generation, "Say.Hello", {"name": 7})
            self.assertGreaterEqual(status, 400, generation)
            self.assertIn("number", fault["detail"], generation)
            self.assertEqual(self.call(generation, "Say.Hello", {"name": "John"})[0], 200, generation)

    def test_no_request(self) -> None:
        """``request`` may be null: the service gets nothing, and does not die of it."""
        for generation in GENERATIONS:
            body = json.dumps({"service": self.name(generation), "method": "Say.Hello", "request": None})
            for _ in range(2):
                answer = self.daemon.request("POST", "/rpc", body, {"Content-Type": "application/json"})
                self.assertEqual((answer.status, answer.json), (200, {"msg": "Hello "}), generation)

    def test_timeouts(self) -> None:
        """A call over its deadline is a 504 in time; other calls to the same node are not disturbed."""
        for generation in GENERATIONS:
            status, fault = self.call(generation, "Say.Slow", {"ms": 3000}, Timeout="300ms")
            self.assertEqual((status, fault["code"]), (504, 504), generation)
            self.assertEqual(self.call(generation, "Say.Slow", {"ms": 10}), (200, {"ms": 10}), generation)

    def test_metadata(self) -> None:
        """Request headers reach the handler as metadata, less those that belong to the wire."""
        for generation in GENERATIONS:
            status, answer = self.call(
                generation, "Say.Meta", X_Foo="bar", Authorization="Bearer t", Micro_Topic="evil", Micro_Target="evil"
            )
            self.assertEqual(status, 200, generation)
            header = {key.lower(): value for key, value in answer["header"].items()}
            self.assertEqual(header["x-foo"], "bar", generation)
            self.assertEqual(header["authorization"], "Bearer t", generation)
            self.assertNotIn("evil", header.values(), generation)

    def test_opaque_protobuf(self) -> None:
        """``application/protobuf`` goes in and comes back as bytes."""
        john, hello = b"\x0a\x04John", b"\x0a\x0aHello John"
        for generation in GENERATIONS:
            answer = self.daemon.request(
                "POST",
                f"/rpc?service={self.name(generation)}&method=Say.Text",
                john,
                {"Content-Type": "application/protobuf"},
            )
            self.assertEqual((answer.status, answer.body), (200, hello), (generation, answer))

    def test_client_streams(self) -> None:
        """A service that answers once, when the caller is done, is heard; then the WebSocket is closed well."""
        for generation in GENERATIONS:
            path = f"/rpc/stream?service={self.name(generation)}&method=Say.Collect"
            talk = WebSocket.open(lambda port: socket.create_connection(("127.0.0.1", port)), self.daemon.port, path)
            for _ in range(3):
                talk.send('{"name":"John","count":1}')
                time.sleep(0.05)  # see Say.Stream
            talk.send("")
            told = talk.receive(30.0)
            assert isinstance(told, str), (generation, told)
            self.assertEqual(json.loads(told), {"msg": "3 messages"}, generation)
            self.assertEqual(talk.receive(30.0), 1000, generation)
            talk.close()

    def test_streams(self) -> None:
        """A WebSocket at /rpc/stream carries a stream of the service both ways, until the service ends it."""
        for generation in GENERATIONS:
            path = f"/rpc/stream?service={self.name(generation)}&method=Say.Stream"
            talk = WebSocket.open(lambda port: socket.create_connection(("127.0.0.1", port)), self.daemon.port, path)
            self.addCleanup(talk.close)
            for message in ({"name": "John", "count": 2}, {"name": "Ann", "count": 1, "last": True}):
                talk.send(json.dumps(message))
            said = [talk.receive(30) for _ in range(4)]
            self.assertEqual(
                [json.loads(text) if isinstance(text, str) else text for text in said],
                [{"msg": "Hello John 1"}, {"msg": "Hello John 2"}, {"msg": "Hello Ann 1"}, 1000],
                generation,
            )

    def test_deregistered(self) -> None:
        """Deregistered with curl, a service is not called any more."""
        for generation in GENERATIONS:
            found = self.daemon.request("GET", f"/registry?service={self.name(generation)}").json
            curl("-X", "DELETE", f"{self.daemon.url}/registry", "-d", json.dumps(found))
            self.assertEqual(self.call(generation, "Say.Hello", {"name": "John"})[0], 404, generation)
