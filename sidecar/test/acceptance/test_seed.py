"""Every command line and example of the original's README, as it is written there, pasted into a shell.

Only the port differs: ``127.0.0.1:8081`` may be taken on the machine that runs the tests.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.certificates import authority
from sidecar.test.doubles.clients.blocking import App, WebSocket
from sidecar.test.doubles.programs.daemon import Daemon, environment, script
from sidecar.test.doubles.programs.process import free_port, start

LIST = "curl -s http://127.0.0.1:8081/registry"
DESCRIBE = "curl -s http://127.0.0.1:8081/registry?service=go.micro.srv.example"
NODE = """{
	"Name": "foo.bar",
	"Nodes": [{
		"Port": 9091,
		"Address": "127.0.0.1",
		"Id": "foo.bar-017da09a-734f-11e5-8136-68a86d0d36b6"
	}]
}"""
REGISTER = f"curl -s -H 'Content-Type: application/json' http://127.0.0.1:8081/registry -d '\n{NODE}'"
REGISTER_FOR_A_WHILE = REGISTER.replace("/registry", "/registry?ttl=10s")
REGISTER_UNTYPED = f"curl -s http://127.0.0.1:8081/registry -d '\n{NODE}'"
DEREGISTER = f"""curl -s -X "DELETE" -H 'Content-Type: application/json' http://127.0.0.1:8081/registry -d '\n{NODE}'"""
CALL = """curl -s  -d 'service=go.micro.srv.example' \\
	-d 'method=Example.Call' \\
	-d 'request={"name": "John"}' http://127.0.0.1:8081/rpc"""


def greet(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """A JSON-RPC app as the original's examples have it; a GET is its health check."""
    if not body:
        return 200, b"ok"
    call = json.loads(body)
    reply = {"msg": f"go.micro.srv.example-c5718d29: Hello {call['params'][0]['name']}"}
    return 200, json.dumps({"id": call["id"], "result": reply, "error": None}).encode()


class SeedCase(SynchronousTestCase):
    def run_sidecar(self, line: str) -> Daemon:
        """Start the sidecar with a line of the README."""
        port = free_port()
        first, *words = line.split()
        program = start(
            script(first),
            words,
            lambda program: "Listening on " in program.output,
            environment=environment({"MICRO_SIDECAR_ADDRESS": f"127.0.0.1:{port}"}),
            patience=120,
        )
        self.addCleanup(program.stop)
        return Daemon(program, f"http://127.0.0.1:{port}", port)

    def paste(self, daemon: Daemon, line: str, env: Mapping[str, str] | None = None) -> str:
        """What a line of the README prints in a shell. Fails where its exit code is not 0."""
        path = os.pathsep.join((str(Path(script("micro")).parent), os.environ.get("PATH", os.defpath)))
        done = subprocess.run(
            line.replace("127.0.0.1:8081", f"127.0.0.1:{daemon.port}"),
            shell=True,
            capture_output=True,
            timeout=60,
            env={**os.environ, **environment(env), "PATH": path},
        )
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""), line)
        return done.stdout.decode()

    def json(self, daemon: Daemon, line: str) -> Any:
        if shutil.which("curl") is None:
            self.skipTest("curl is not installed")
        return json.loads(self.paste(daemon, line))

    def app(self) -> App:
        app = App.listen(socket.socket(), greet)
        self.addCleanup(app.close)
        return app

    def put_an_example(self, daemon: Daemon, port: int) -> None:
        """The service that the README's own examples speak of."""
        node = {"id": "go.micro.srv.example-c5718d29", "address": "127.0.0.1", "port": port}
        body = json.dumps({"name": "go.micro.srv.example", "nodes": [node]})
        self.assertEqual(daemon.request("POST", "/registry", body).status, 200)


class SeedTests(SeedCase):
    def test_run(self) -> None:
        """``micro sidecar`` serves."""
        daemon = self.run_sidecar("micro sidecar")
        self.assertEqual(self.json(daemon, LIST), [])

    def test_run_with_an_app(self) -> None:
        """``--server_name`` and ``--server_address`` register an app at start-up."""
        daemon = self.run_sidecar("micro sidecar --server_name=foo --server_address=127.0.0.1:9090")
        (node,) = daemon.request("GET", "/registry?service=foo").json["nodes"]
        self.assertEqual((node["address"], node["port"]), ("127.0.0.1", 9090))
        self.assertRegex(node["id"], r"^foo-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$")

    def test_tls(self) -> None:
        """The certificate flags, before the word, serve https."""
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        cert, key = authority(home).issue("localhost")
        line = "micro --enable_tls --tls_cert_file=/path/to/cert --tls_key_file=/path/to/key sidecar"
        daemon = self.run_sidecar(line.replace("/path/to/cert", cert).replace("/path/to/key", key))
        self.assertEqual(self.json(daemon, "curl -sk https://127.0.0.1:8081/registry"), [])

    def test_discovery(self) -> None:
        """Host discovery prints the README's object."""
        daemon = self.run_sidecar("micro sidecar")
        self.put_an_example(daemon, 60728)
        found = self.json(daemon, DESCRIBE)
        self.assertEqual(found["name"], "go.micro.srv.example")
        node = {"id": "go.micro.srv.example-c5718d29", "address": "127.0.0.1", "port": 60728}
        self.assertEqual(found["nodes"], [node])

    def test_discovery_of_any_address(self) -> None:
        """The README's own node listens on ``[::]``, and is shown so, where such nodes are allowed."""
        daemon = self.run_sidecar("micro sidecar --allow_addresses=::")
        body = b'{"name":"go.micro.srv.example","nodes":[{"id":"x","address":"[::]","port":60728}]}'
        self.assertEqual(daemon.request("POST", "/registry", body).status, 200)
        self.assertEqual(self.json(daemon, DESCRIBE)["nodes"], [{"id": "x", "address": "[::]", "port": 60728}])

    def test_register_and_deregister(self) -> None:
        """Registered, it is there; deregistered, it is gone."""
        daemon = self.run_sidecar("micro sidecar")
        for line in (REGISTER, REGISTER_FOR_A_WHILE, REGISTER_UNTYPED):
            stored = self.json(daemon, line)
            self.assertEqual(stored["nodes"][0]["id"], "foo.bar-017da09a-734f-11e5-8136-68a86d0d36b6")
            (node,) = daemon.request("GET", "/registry?service=foo.bar").json["nodes"]
            self.assertEqual((node["address"], node["port"]), ("127.0.0.1", 9091))
            self.json(daemon, DEREGISTER)
            self.assertEqual(daemon.request("GET", "/registry?service=foo.bar").status, 404)

    def test_healthchecking(self) -> None:
        """The log says what the README's says."""
        app = self.app()
        line = (
            "micro sidecar --server_name=foo --server_address=127.0.0.1:9090 "
            "--healthcheck_url=http://127.0.0.1:9090/_status/health"
        )
        daemon = self.run_sidecar(line.replace("9090", str(app.port)))
        self.assertRegex(daemon.output, r"Registering foo-[0-9a-f]{8}-")
        self.assertIn("Starting sidecar healthchecker", daemon.output)
        self.assertEqual(daemon.request("GET", "/registry").json, [{"name": "foo"}])
        self.assertEqual(daemon.request("GET", "/health").status, 200)

    def test_rpc(self) -> None:
        """The README's call prints the README's answer."""
        daemon = self.run_sidecar("micro sidecar")
        self.put_an_example(daemon, self.app().port)
        self.assertEqual(self.json(daemon, CALL), {"msg": "go.micro.srv.example-c5718d29: Hello John"})

    def test_pubsub(self) -> None:
        """The Go program hears what it says, in ``msg.Data``; with a queue, one of the group does."""
        daemon = self.run_sidecar("micro sidecar")

        def connect(port: int) -> socket.socket:
            return socket.create_connection(("127.0.0.1", port), timeout=60)

        alone = WebSocket.open(connect, daemon.port, "/broker?topic=foo")
        self.addCleanup(alone.close)
        group = [WebSocket.open(connect, daemon.port, "/broker?topic=foo&queue=group-1") for _ in range(2)]
        for one in group:
            self.addCleanup(one.close)
        for _ in range(10):
            alone.send("hello world")
        heard = [json.loads(str(alone.receive(60))) for _ in range(10)]
        self.assertEqual({base64.b64decode(message["Data"]) for message in heard}, {b"hello world"})
        shares = []
        for one in group:
            share = 0
            try:
                while share < 10:
                    one.receive(1)
                    share += 1
            except TimeoutError:
                pass
            shares.append(share)
        self.assertEqual(sum(shares), 10, shares)

    def test_proxied_cli(self) -> None:
        """The command line asks the sidecar."""
        daemon = self.run_sidecar("micro sidecar")
        body = b'{"name":"go.micro.srv.greeter","nodes":[{"address":"127.0.0.1:1"}]}'
        daemon.request("POST", "/registry", body)
        printed = self.paste(daemon, "micro --proxy_address=127.0.0.1:8081 list services")
        self.assertEqual(printed, "go.micro.srv.greeter\n")

    def test_stats(self) -> None:
        """``--enable_stats`` before the word gives the dashboard."""
        daemon = self.run_sidecar("micro --enable_stats sidecar")
        page = daemon.request("GET", "/stats", headers={"Accept": "text/html"})
        self.assertEqual((page.status, page.headers["content-type"]), (200, "text/html; charset=utf-8"))
        stats = self.json(daemon, "curl -s -H 'Content-Type: application/json' http://127.0.0.1:8081/stats")
        self.assertEqual(stats["counters"][-1]["status_codes"].get("50x", 0), 0)
