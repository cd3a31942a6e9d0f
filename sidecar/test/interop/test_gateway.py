"""go-micro's own command ``micro`` of v5.30.0, its gateway and its MCP server, before an app that speaks plain HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs.daemon import environment, script
from sidecar.test.doubles.programs.namespace import Namespace, unavailable
from sidecar.test.doubles.programs.process import BIN, find_program, start

PROGRAM = find_program("micro-v5.30.0")
#: Seconds that anything may take on a machine that is busy with something else.
PATIENCE = 60.0

#: The app, which knows nothing of go-micro.
APP = """
import http.server, json
class App(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"msg": "Hello " + asked["name"]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 9090), App).serve_forever()
"""
REQUEST = {"name": "Request", "type": "Request", "values": [{"name": "name", "type": "string"}]}
RESPONSE = {"name": "Response", "type": "Response", "values": [{"name": "msg", "type": "string"}]}
ENDPOINT = {"name": "Say.Hello", "request": REQUEST, "response": RESPONSE, "metadata": {"description": "Greets"}}


class Gateway(SynchronousTestCase):
    skip = (
        unavailable() if PROGRAM else f"go-micro's command is not here: run interop/build, or name its output in ${BIN}"
    )

    def setUp(self) -> None:
        self.inside = Namespace.make()
        self.addCleanup(subprocess.run, ["ip", "netns", "delete", self.inside.name], check=False)
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        shapes = Path(home.name, "endpoints.json")
        shapes.write_text(json.dumps([ENDPOINT]))
        self.run_beside(sys.executable, "-c", APP)
        self.run_beside(
            script("micro"), "sidecar", "--registry=mdns", "--server_name=srv.greeter",
            "--server_address=127.0.0.1:9090", "--server_protocol=http", f"--server_endpoints={shapes}",
        )  # fmt: skip
        self.until(lambda: "srv.greeter" in self.micro("services"))

    def run_beside(self, *command: str) -> None:
        program, *arguments = (*self.inside.prefix, *command)
        self.addCleanup(start(program, arguments, lambda _: True).stop)

    def run_inside(self, *command: str) -> str:
        found = subprocess.run(
            [*self.inside.prefix, *command], capture_output=True, text=True, timeout=PATIENCE, env=environment()
        )
        return found.stdout

    def micro(self, *arguments: str) -> str:
        assert PROGRAM is not None
        return self.run_inside(PROGRAM, *arguments)

    def curl(self, path: str, body: object = None) -> str:
        posted = [] if body is None else ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return self.run_inside("curl", "-s", "-m", "30", *posted, f"http://127.0.0.1:8090{path}")

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)

    def test_command(self) -> None:
        """micro describe shows the endpoint's shapes, and micro call calls it."""
        told = self.micro("describe", "srv.greeter")
        (endpoint,) = json.loads(told[told.index("{") :])["endpoints"]
        self.assertEqual(endpoint["request"]["values"][0]["name"], "name")
        self.assertEqual(endpoint["response"]["values"][0]["name"], "msg")
        self.assertEqual((endpoint["name"], endpoint["metadata"]), ("Say.Hello", {"description": "Greets"}))
        self.assertIn('{"msg": "Hello John"}', self.micro("call", "srv.greeter", "Say.Hello", '{"name":"John"}'))

    def test_gateway(self) -> None:
        """Its gateway lists the service with its endpoint, and calls it by path."""
        assert PROGRAM is not None
        self.run_beside(PROGRAM, "api", "--address", "127.0.0.1:8090")
        self.until(lambda: "srv.greeter" in self.curl("/"))
        self.assertEqual(json.loads(self.curl("/")), [{"name": "srv.greeter", "endpoints": ["Say.Hello"]}])
        self.assertEqual(json.loads(self.curl("/srv.greeter/Say.Hello", {"name": "John"})), {"msg": "Hello John"})

    def test_tools(self) -> None:
        """Its MCP server lists the endpoint as a tool with the request's shape, and a call of the tool reaches the app."""
        assert PROGRAM is not None
        self.run_beside(PROGRAM, "mcp", "serve", "--registry", "mdns", "--address", "127.0.0.1:8090")
        self.until(lambda: "srv.greeter.Say.Hello" in self.curl("/mcp/tools"))
        tools = {tool["name"]: tool for tool in json.loads(self.curl("/mcp/tools"))["tools"]}
        tool = tools["srv.greeter.Say.Hello"]
        self.assertEqual((tool["description"], list(tool["inputSchema"]["properties"])), ("Greets", ["name"]))
        called = self.curl("/mcp/call", {"tool": tool["name"], "input": {"name": "John"}})
        self.assertEqual(json.loads(called)["result"], {"msg": "Hello John"})
