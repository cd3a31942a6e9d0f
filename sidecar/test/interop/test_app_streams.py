"""Streams of real go-micro clients into an app behind the sidecar that serves plain HTTP and WebSockets."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor as installed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

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


class GoStreams(TestCase):
    skip = None if all(PROGRAMS.values()) else f"no go-micro clients here: run interop/build, or name its output in ${BIN}"

    async def test_streams(self) -> None:
        """A client of each generation, in each protocol that it speaks, has both its messages said again, and the end."""
        app = WebSocketServerFactory()
        app.protocol = Echo
        port = reactor.listenTCP(0, app, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        where = f"127.0.0.1:{port.getHost().port}"
        daemon = await deferToThread(
            running_daemon, ("--server_name=foo", f"--server_address={where}", "--server_protocol=http")
        )
        self.addCleanup(deferToThread, daemon.stop)
        answer = await deferToThread(daemon.request, "GET", "/registry?service=foo")
        (node,) = answer.json["nodes"]
        for name, protocol in CLIENTS:
            words = ["stream", f"-protocol={protocol}", f"-to=127.0.0.1:{node['port']}", f"-timeout={PATIENCE:.0f}s"]
            done = await deferToThread(
                subprocess.run,
                [str(PROGRAMS[name]), *words, "foo", "Say.Stream", '{"n":1}', '{"n":2}'],
                capture_output=True,
                timeout=PATIENCE,
            )
            said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
            heard = [(each["event"], each.get("body")) for each in said]
            expected = [("answer", {"n": 1}), ("answer", {"n": 2}), ("end", None)]
            self.assertEqual(heard, expected, f"{name} {protocol}: {done.stderr!r}")
