"""A registry engine, NATS, two sidecars on them and two apps of ours: what every row of the matrix meets."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from attrs import define, field

from sidecar.test.doubles.clients.blocking import App, WebSocket, ask
from sidecar.test.doubles.programs import namespace, process
from sidecar.test.doubles.programs.daemon import Answer, Daemon, running_daemon
from sidecar.test.doubles.programs.namespace import Namespace

JSON = {"Content-Type": "application/json"}

#: An app that speaks go-micro's envelope itself, registered by POST /registry.
RPC_APP = "our.app"
#: An app that knows nothing of go-micro, behind ``--server_protocol=http``.
HTTP_APP = "our.http"


def why_not(registry: str) -> str | None:
    """Why there can be no such world here, for a test's ``skip``."""
    engine = {"consul": ("consul",), "etcd": ("etcd",)}.get(registry, ())
    return process.missing("nats-server", *engine) or (namespace.unavailable() if registry == "mdns" else None)


@define(eq=False)
class World:
    """Where one registry is joined.

    :ivar sidecars: by broker, ``http`` and ``nats``.
    :ivar flags: by broker, what joins a ``say`` program to the same registry and broker.
    :ivar prefix: what stands before a command that is to run here.
    """

    registry: str
    sidecars: dict[str, Daemon] = field(factory=dict)
    flags: dict[str, tuple[str, ...]] = field(factory=dict)
    prefix: tuple[str, ...] = ()
    _space: Namespace | None = None
    _things: ExitStack = field(factory=ExitStack)

    @classmethod
    def make(cls, registry: str) -> World:
        world = cls(registry)
        try:
            world._build()
        except BaseException:
            world.close()
            raise
        return world

    def _build(self) -> None:
        if self.registry == "mdns":
            self._space = Namespace.make()
            self._things.callback(self._space.remove)
            self.prefix = self._space.prefix
        nats = self._engine(process.start_nats)
        engine = {"consul": process.start_consul, "etcd": process.start_etcd}.get(self.registry)
        port = self._engine(engine) if engine else nats if self.registry == "nats" else 0
        plain = self._app(_plain_app)
        for broker in ("http", "nats"):
            say = ["--registry", self.registry, "--broker", broker]
            ours = ["--registry", self.registry, "--broker", broker]
            if port:
                say += ["--registry-address", f"127.0.0.1:{port}"]
                ours += ["--registry_address", f"127.0.0.1:{port}"]
            if broker == "nats":
                say += ["--broker-address", f"127.0.0.1:{nats}"]
                ours += ["--broker_address", f"127.0.0.1:{nats}"]
            else:
                app = ["--server_name", HTTP_APP, "--server_address", f"127.0.0.1:{plain.port}"]
                ours += [*app, "--server_protocol", "http"]
            if self._space:
                ours += ["--mdns_interface", "127.0.0.1"]
            self.flags[broker] = tuple(say)
            self.sidecars[broker] = running_daemon(ours, prefix=self.prefix)
            self._things.callback(self.sidecars[broker].stop)
        node = {"Id": f"{RPC_APP}-1", "Address": "127.0.0.1", "Port": self._app(_rpc_app).port}
        answer = self.ask("http", "POST", "/registry", json.dumps({"Name": RPC_APP, "Nodes": [node]}))
        if answer.status != 200:
            raise RuntimeError(f"{RPC_APP} was not registered: {answer.body!r}")

    def _engine(self, start: Callable[..., process.Program]) -> int:
        if self._space:
            # In a namespace of its own every port is free, and who asks whether it is served has to ask in there.
            port = 4222
            words = [*self.prefix, "nats-server", "-a", "127.0.0.1", "-p", str(port)]
            program = process.start(words[0], words[1:], lambda program: "Server is ready" in program.output)
        else:
            port = process.free_port()
            program = start(port)
        self._things.callback(program.stop)
        return port

    def _app(self, answers: Callable[[str, Mapping[str, str], bytes], tuple[int, bytes]]) -> App:
        app = App.listen(self._socket(), answers)
        self._things.callback(app.close)
        return app

    def _socket(self) -> socket.socket:
        return self._space.socket() if self._space else socket.socket()

    def connect(self, port: int) -> socket.socket:
        sock = self._socket()
        sock.settimeout(60)
        sock.connect(("127.0.0.1", port))
        return sock

    def ask(
        self,
        broker: str,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] = JSON,
    ) -> Answer:
        """Ask the sidecar with that broker."""
        return ask(self.connect, self.sidecars[broker].port, method, path, body, headers)

    def websocket(self, broker: str, path: str) -> WebSocket:
        return WebSocket.open(self.connect, self.sidecars[broker].port, path)

    def close(self) -> None:
        self._things.close()


def _greet(request: Any, headers: Mapping[str, str]) -> dict[str, str]:
    return {"msg": f"Hello {request['name']}", "foo": headers.get("x-foo", "")}


def _rpc_app(_: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """JSON-RPC as an app of the README would speak it."""
    call = json.loads(body)
    answer: dict[str, Any] = {"id": call["id"], "result": None, "error": None}
    if call["method"] == "Say.Hello":
        answer["result"] = _greet(call["params"][0], headers)
    else:
        answer["error"] = json.dumps({"id": RPC_APP, "code": 409, "detail": "not today", "status": "Conflict"})
    return 200, json.dumps(answer).encode()


def _plain_app(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """``POST /Say/Hello``, errors by status."""
    if path == "/Say/Hello":
        return 200, json.dumps(_greet(json.loads(body), headers)).encode()
    return 409, b"not today"
