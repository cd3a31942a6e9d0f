"""Clients and servers in the shape of the original's own examples, in its three languages: by path as by ``/rpc``.

:source: the programs of micro/examples ``proxy/`` and ``greeter/``, written anew
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs.daemon import environment, running_daemon
from sidecar.test.doubles.programs.process import start

PATIENCE = 60.0

PYTHON_CLIENT = """
import json, sys, urllib.error, urllib.parse, urllib.request

call_uri = "http://localhost:" + sys.argv[1]

def post(path, data, kind):
    try:
        request = urllib.request.Request(call_uri + path, data, {"content-type": kind})
        return urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()

def rpc_call(path, request):
    return json.loads(post(path, json.dumps(request).encode(), "application/json"))

def http_call(path, request):
    data = urllib.parse.urlencode(request).encode()
    return json.loads(post(path, data, "application/x-www-form-urlencoded"))

payload = {"service": "go.micro.srv.greeter", "method": "Say.Hello", "request": {"name": "John"}}
answers = [
    rpc_call("/greeter/say/hello", {"name": "John"}),
    rpc_call("/rpc", payload),
    http_call("/greeter/say/hello", {"name": "John"}),
    rpc_call("/greeter/say/nothing", {"name": "John"}),
    rpc_call("/nobody/say/hello", {"name": "John"}),
]
print(json.dumps(answers))
"""

PYTHON_SERVER = """
import json, signal, sys, urllib.request, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

registry_uri = "http://localhost:" + sys.argv[1] + "/registry"

class Application(BaseHTTPRequestHandler):
    dispatcher = {"Say.Hello": lambda s: {"msg": "Hello " + s["name"]}}

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, answer = self.dispatcher.get(asked["method"]), {"id": asked["id"], "result": None, "error": None}
        if method is None:
            answer["error"] = "unknown method " + asked["method"]
        else:
            answer["result"] = method(asked["params"][0])
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

def tell(method, service):
    data, headers = json.dumps(service).encode(), {"content-type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(registry_uri, data, headers, method=method))

def leave(*_):
    raise SystemExit(0)

server = ThreadingHTTPServer(("127.0.0.1", 0), Application)
service = {
    "name": "go.micro.srv.greeter",
    "nodes": [{
        "id": "go.micro.srv.greeter-" + str(uuid.uuid4()), "address": "127.0.0.1", "port": server.server_port,
    }],
}
signal.signal(signal.SIGTERM, leave)
tell("POST", service)
try:
    server.serve_forever()
finally:
    tell("DELETE", service)
"""

RUBY_CLIENT = """
require 'net/http'
require 'json'

$uri = URI("http://localhost:#{ARGV[0]}")

def rpc_call(path, req)
  http = Net::HTTP.new($uri.host, $uri.port)
  request = Net::HTTP::Post.new(path)
  request.content_type = 'application/json'
  request.body = req.to_json
  JSON.parse(http.request(request).body)
end

def http_call(path, req)
  http = Net::HTTP.new($uri.host, $uri.port)
  request = Net::HTTP::Post.new(path)
  request.set_form_data(req)
  JSON.parse(http.request(request).body)
end

payload = { "service" => "go.micro.srv.greeter", "method" => "Say.Hello", "request" => { "name" => "John" } }
puts [
  rpc_call("/greeter/say/hello", { "name" => "John" }),
  rpc_call("/rpc", payload),
  http_call("/greeter/say/hello", { "name" => "John" }),
  rpc_call("/greeter/say/nothing", { "name" => "John" }),
  rpc_call("/nobody/say/hello", { "name" => "John" }),
].to_json
"""

GO_CLIENT = """
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

func read(answer *http.Response, err error) json.RawMessage {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return body
}

func main() {
	uri := "http://localhost:" + os.Args[1]
	rpc := func(path string, request any) json.RawMessage {
		body, _ := json.Marshal(request)
		return read(http.Post(uri+path, "application/json", bytes.NewReader(body)))
	}
	john := map[string]string{"name": "John"}
	answers := []json.RawMessage{
		rpc("/greeter/say/hello", john),
		rpc("/rpc", map[string]any{"service": "go.micro.srv.greeter", "method": "Say.Hello", "request": john}),
		read(http.PostForm(uri+"/greeter/say/hello", url.Values{"name": {"John"}})),
		rpc("/greeter/say/nothing", john),
		rpc("/nobody/say/hello", john),
	}
	written, _ := json.Marshal(answers)
	fmt.Println(string(written))
}
"""


class OriginalExamples(SynchronousTestCase):
    timeout = 300

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.daemon = running_daemon(())
        self.addCleanup(self.daemon.stop)
        server = self.write("rpc_server.py", PYTHON_SERVER)
        self.server = start(
            sys.executable, [server, str(self.daemon.port)], lambda _: True, environment=environment(), home=self.home
        )
        self.addCleanup(self.server.stop)
        self.wait_until(200)

    def write(self, name: str, text: str) -> str:
        path = self.home / name
        path.write_text(text)
        return str(path)

    def wait_until(self, status: int) -> None:
        """Wait until the registry answers so about the greeter."""
        end = time.monotonic() + PATIENCE
        while self.daemon.request("GET", "/registry?service=go.micro.srv.greeter").status != status:
            self.assertLess(time.monotonic(), end, self.server.output)
            time.sleep(0.05)

    def journey(self, *command: str) -> None:
        """Run a client, and see that it was answered by path as by ``/rpc``."""
        done = subprocess.run([*command, str(self.daemon.port)], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        self.assertEqual(answers[:3], [{"msg": "Hello John"}] * 3)
        unknown, nobody = answers[3:]
        self.assertEqual((unknown["code"], "unknown method Say.Nothing" in unknown["detail"]), (500, True), unknown)
        self.assertEqual((nobody["code"], "go.micro.srv.nobody" in nobody["detail"]), (404, True), nobody)

    def test_python(self) -> None:
        """Python's client, and its server, which registers itself and leaves at SIGTERM."""
        self.journey(sys.executable, self.write("rpc_client.py", PYTHON_CLIENT))
        self.server.process.terminate()
        self.wait_until(404)

    def test_ruby(self) -> None:
        """Ruby's."""
        ruby = shutil.which("ruby")
        if ruby is None:
            self.skipTest("not installed: ruby")
        self.journey(ruby, self.write("rpc_client.rb", RUBY_CLIENT))

    def test_go(self) -> None:
        """Go's."""
        go = shutil.which("go")
        if go is None:
            self.skipTest("not installed: go")
        source, program = self.write("rpc_client.go", GO_CLIENT), str(self.home / "rpc_client")
        built = subprocess.run([go, "build", "-o", program, source], capture_output=True, text=True, cwd=self.home)
        self.assertEqual(built.returncode, 0, built.stderr)
        self.journey(program)
