"""Streams of real go-micro clients into an app behind the sidecar that serves plain HTTP and WebSockets."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor as installed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from sidecar.test.doubles.programs.daemon import running_daemon
from sidecar.test.doubles.programs.process import BIN, find_program

reactor: Any = installed

#: Seconds that anything may take on a machine that is busy with something else.
PATIENCE = 60.0
#: Which clients, and in which protocol.
CLIENTS = tuple((name, "mucp") for name in ("v1.18.0", "v2.9.1", "v3.7.1", "v4.11.0", "v5.30.0")) + (("v2.9.1", "grpc"),)
PROGRAMS = {name: find_program(f"say-{name}") for name, _ in CLIENTS}


class Echo(WebSocketServerProtocol):
    """The app: says each message again, and ends after the second."""

    count = 0

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.count += 1
        self.sendMessage(payload, isBinary)
        if self.count == 2:
            self.sendClose(1000)


class Counting(WebSocketServerProtocol):
    """An app that answers once, when it has heard all."""

    count = 0

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.count += 1
        if self.count == 3:
            self.sendMessage(json.dumps({"heard": self.count}).encode(), False)
            self.sendClose(1000)


class Posted(Resource):
    """An app that opens no WebSocket: says what is posted to it again."""

    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        said: bytes = request.content.read()
        return said


class GoStreams(TestCase):
    skip = None if all(PROGRAMS.values()) else f"no go-micro clients here: run interop/build, or name its output in ${BIN}"

    async def app(self, factory: Any) -> int:
        """Serve it behind a sidecar. :returns: the port that Go's clients call."""
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        where = f"127.0.0.1:{port.getHost().port}"
        daemon = await deferToThread(
            running_daemon, ("--server_name=foo", f"--server_address={where}", "--server_protocol=http")
        )
        self.addCleanup(deferToThread, daemon.stop)
        answer = await deferToThread(daemon.request, "GET", "/registry?service=foo")
        (node,) = answer.json["nodes"]
        found: int = node["port"]
        return found

    async def stream(self, name: str, protocol: str, port: int, *messages: str) -> list[dict[str, Any]]:
        """Have a client send messages on one stream. :returns: what it says that it heard."""
        words = ["stream", f"-protocol={protocol}", f"-to=127.0.0.1:{port}", f"-timeout={PATIENCE:.0f}s"]
        done = await deferToThread(
            subprocess.run,
            [str(PROGRAMS[name]), *words, "foo", "Say.Stream", *messages],
            capture_output=True,
            timeout=2 * PATIENCE,
        )
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]

    async def test_streams(self) -> None:
        """A client of each generation, in each protocol that it speaks, has both its messages said again, and the end."""
        app = WebSocketServerFactory()
        app.protocol = Echo
        port = await self.app(app)
        for name, protocol in CLIENTS:
            said = await self.stream(name, protocol, port, '{"n":1}', '{"n":2}')
            heard = [(each["event"], each.get("body")) for each in said]
            expected = [("answer", {"n": 1}), ("answer", {"n": 2}), ("end", None)]
            self.assertEqual(heard, expected, f"{name} {protocol}")

    async def test_one_answer(self) -> None:
        """An app may hear all messages before it answers: nobody waits for an answer to each."""
        app = WebSocketServerFactory()
        app.protocol = Counting
        port = await self.app(app)
        for name, protocol in CLIENTS:
            said = await self.stream(name, protocol, port, *(f'{{"n":{n}}}' for n in range(3)))
            heard = [(each["event"], each.get("body")) for each in said]
            self.assertEqual(heard, [("answer", {"heard": 3}), ("end", None)], f"{name} {protocol}")

    async def test_no_websocket(self) -> None:
        """An app that refuses the upgrade gets a stream of one message as a POST; more are not implemented, in words."""
        port = await self.app(Site(Posted()))
        for name, protocol in CLIENTS:
            said = await self.stream(name, protocol, port, '{"n":1}')
            heard = [(each["event"], each.get("body")) for each in said]
            self.assertEqual(heard, [("answer", {"n": 1}), ("end", None)], f"{name} {protocol}")
            (refused,) = await self.stream(name, protocol, port, '{"n":1}', '{"n":2}')
            self.assertEqual(refused["event"], "error", f"{name} {protocol}")
            for word in ("501" if protocol == "mucp" else "Unimplemented", "opens no WebSocket"):
                self.assertIn(word, str(refused["error"]), f"{name} {protocol}")
