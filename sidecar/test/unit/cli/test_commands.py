"""``micro`` as a process, against the real daemon."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.certificates import authority
from sidecar.test.doubles.programs.daemon import environment, run, running_daemon, script
from sidecar.test.doubles.programs.process import default_signals, free_port

RESULTS = {
    "Debug.Health": {"status": "ok"},
    "Debug.Stats": {"started": 1500000000, "uptime": 60, "memory": 1048576, "threads": 3, "gc": 1000},
    "Say.Hello": {"msg": "hello", "big": 12345678901234567890},
}
FAULT = {"id": "go.micro.srv.x", "code": 418, "detail": "short and stout", "status": "I'm a teapot"}


class App(BaseHTTPRequestHandler):
    """A JSON-RPC app that knows the methods of ``RESULTS``."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result = RESULTS.get(asked["method"])
        error = None if result else json.dumps(FAULT)
        body = json.dumps({"id": asked["id"], "result": result, "error": error}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Bare(App):
    """A hand-written app that knows its own methods alone."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"id": asked["id"], "result": None, "error": "unknown method"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that are closed early are no news."""


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = running_daemon()
        self.addCleanup(self.daemon.stop)

    def micro(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run("micro", args, {"MICRO_PROXY_ADDRESS": f"127.0.0.1:{self.daemon.port}"}, stdin)

    def assert_prints(self, expected: str, *args: str, stdin: bytes = b"") -> None:
        done = self.micro(*args, stdin=stdin)
        self.assertEqual((done.stdout.decode(), done.stderr, done.returncode), (expected, b"", 0))

    def assert_fails(self, code: int, word: str, *args: str) -> str:
        """Said on standard error, with nothing on standard output, and the exit code."""
        done = self.micro(*args)
        self.assertEqual((done.stdout, done.returncode), (b"", code), done.stderr)
        said = done.stderr.decode()
        self.assertIn(word, said)
        self.assertNotIn("Traceback", said)
        return said

    def definition(self, port: int) -> str:
        node = {"id": "x-1", "address": "127.0.0.1", "port": port, "metadata": {}}
        return json.dumps({"name": "go.micro.srv.x", "version": "1.0", "nodes": [node]})

    def app(self, kind: type[App] = App) -> int:
        server = Quiet(("127.0.0.1", 0), kind)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        port: int = server.server_address[1]
        return port

    def test_register_list_get_deregister(self) -> None:
        """A service comes, is seen, and goes; JSON may come in several words."""
        self.assert_prints("", "list", "services")
        self.assert_prints("ok\n", "register", "service", *self.definition(9).split(" "))
        self.assert_prints("ok\n", "register", "service", '{"name":"abc","nodes":[{"address":"127.0.0.1:1"}]}')
        self.assert_prints("abc\ngo.micro.srv.x\n", "list", "services")
        described = self.micro("get", "service", "go.micro.srv.x").stdout.decode()
        self.assertIn("service  go.micro.srv.x\n\nversion 1.0\n\nId\tAddress\tPort\tMetadata\n", described)
        self.assertIn("x-1\t127.0.0.1\t9\t", described)
        self.assert_prints("ok\n", "deregister", "service", self.definition(9))
        self.assert_fails(3, "404", "get", "service", "go.micro.srv.x")

    def test_flag_beats_environment(self) -> None:
        """``--proxy_address`` before the command, as in the README."""
        self.micro("register", "service", self.definition(9))
        done = run("micro", [f"--proxy_address=127.0.0.1:{self.daemon.port}", "list", "services"])
        self.assertEqual(done.stdout, b"go.micro.srv.x\n")

    def test_call(self) -> None:
        """The answer's JSON indented, numbers exact; query is the same; no request is an empty one."""
        self.micro("register", "service", self.definition(self.app()))
        expected = '{\n\t"msg": "hello",\n\t"big": 12345678901234567890\n}\n'
        self.assert_prints(expected, "call", "go.micro.srv.x", "Say.Hello", '{"name":', '"John"}')
        self.assert_prints(expected, "query", "go.micro.srv.x", "Say.Hello")

    def test_call_that_fails(self) -> None:
        """The error of the service, whole."""
        self.micro("register", "service", self.definition(self.app()))
        said = self.assert_fails(1, "short and stout", "call", "go.micro.srv.x", "Say.Nothing")
        self.assertEqual(json.loads(said), FAULT)
        self.assertEqual(json.loads(self.assert_fails(3, "404", "call", "nobody", "Say.Hello"))["code"], 404)

    def test_health_and_stats(self) -> None:
        """Every node is asked through the sidecar."""
        self.micro("register", "service", self.definition(port := self.app()))
        head = "service  go.micro.srv.x\n\nversion 1.0\n\n"
        self.assert_prints(
            f"{head}node\t\taddress:port\t\tstatus\nx-1\t\t127.0.0.1:{port}\t\tok\n", "health", "go.micro.srv.x"
        )
        stats = self.micro("stats", "go.micro.srv.x").stdout.decode()
        self.assertIn(f"{head}node\t\taddress:port\t\tstarted\tuptime\tmemory\tthreads\tgc\nx-1\t\t", stats)
        self.assertIn("\t1m0s\t1.00mb\t3\t1µs\n", stats)

    def test_health_of_an_app_without_it(self) -> None:
        """The row says that the app offers no Debug.Health, and not only what it answered."""
        self.micro("register", "service", self.definition(self.app(Bare)))
        for command, method in (("health", b"Debug.Health"), ("stats", b"Debug.Stats")):
            done = self.micro(command, "go.micro.srv.x")
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"seems to offer no " + method, done.stdout)
            self.assertIn(b"unknown method", done.stdout)

    def test_health_of_a_dead_node(self) -> None:
        """Its row says what is wrong, and the exit code too."""
        self.micro("register", "service", self.definition(free_port()))
        done = self.micro("health", "go.micro.srv.x")
        self.assertEqual(done.returncode, 4)
        self.assertIn(b"refused", done.stdout)
        self.assertIn(b"x-1", done.stderr)
        self.assert_fails(3, "404", "health", "nobody")

    def test_what_a_terminal_cannot_show(self) -> None:
        """Names in any language go in and out, in escapes where the terminal has not their letters, and never a
        traceback; what a terminal would obey is in escapes everywhere."""
        node = '{"id":"x-1","address":"127.0.0.1","port":9,"metadata":{"x":"\\u001b[2J"}}'
        self.assert_prints("ok\n", "register", "service", f'{{"name":"größe","nodes":[{node}]}}')
        ascii_only = {
            "MICRO_PROXY_ADDRESS": f"127.0.0.1:{self.daemon.port}",
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
        }
        for args, shown in ((["list", "services"], b"gr\\xf6\\xdfe"), (["get", "service", "größe"], b"x=\\u001b[2J")):
            done = run("micro", args, ascii_only)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(shown, done.stdout)
        unreadable = os.fsdecode(b"gr\xf6e")
        for words in (["get", "service"], ["health"], ["nodes"]):
            self.assert_fails(2, "UTF-8", *words, unreadable)
        for words in (["call"], ["publish"]):
            self.assert_fails(2, "UTF-8", *words, unreadable, "x")

    def test_days(self) -> None:
        """``d`` is a day in a flag, though the sidecar's own parameters know none; what is no time is a wrong flag."""
        self.micro("register", "service", self.definition(9))
        for since in ("1d", "1h", "2020-01-01T00:00:00Z"):
            self.assertIn(b"x-1 at 127.0.0.1:9 came", self.micro("log", f"--since={since}").stdout)
        self.assert_fails(2, "--since=30x", "log", "--since=30x")

    def test_nothing_in_the_journal(self) -> None:
        """A service that the journal does not know is not found; a filter that leaves nothing is no fault."""
        self.micro("register", "service", self.definition(9))
        self.assert_fails(3, "the journal has nothing about nope", "log", "nope")
        self.assert_fails(0, "nothing like that", "log", "go.micro.srv.x", "--reason=expired")

    def test_faults(self) -> None:
        """Each in one line that says what is missing or wrong."""
        self.assert_fails(2, "require service definition", "register", "service")
        self.assert_fails(2, "require service and method", "call", "x")
        self.assert_fails(2, "require topic", "publish")
        self.assert_fails(2, "'frobnicate'", "frobnicate")
        self.assert_fails(2, "--nonsense", "list", "services", "--nonsense")
        self.assert_fails(2, "services", "list")
        self.assert_fails(1, "400", "register", "service", '{"name":')
        self.assert_fails(4, "micro sidecar", f"--proxy_address=127.0.0.1:{free_port()}", "list", "services")

    def test_help(self) -> None:
        """With and without being asked; micro's own flags are no command of the daemon."""
        for args in ([], ["--help"], ["help"]):
            done = run("micro", args)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(b"subscribe TOPIC", done.stdout)
        self.assertRegex(run("micro", ["--version"]).stdout, rb"^microsidecar \d+\.\d+\.\d+\n$")
        done = run("micro", ["--enable_stats", "list", "services"])
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"--enable_stats", done.stderr)

    def test_a_reader_that_has_seen_enough(self) -> None:
        """``micro list services | true`` says nothing about broken pipes."""
        self.micro("register", "service", self.definition(9))
        line = f"{script('micro')} --proxy_address=127.0.0.1:{self.daemon.port} list services | true"
        done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, timeout=120, env=environment())
        self.assertEqual(done.stderr, b"")

    def test_client_commands_do_not_load_the_daemon(self) -> None:
        """They start as fast as Python does."""
        code = "import sys, sidecar.cli.run, sidecar.cli.commands.calls; sys.exit('twisted' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], env=environment(), timeout=120)
        self.assertEqual(done.returncode, 0)

    def subscriber(self, *args: str) -> subprocess.Popen[bytes]:
        """A started ``micro subscribe`` that has its subscription."""
        process = subprocess.Popen(
            [script("micro"), f"--proxy_address=127.0.0.1:{self.daemon.port}", "subscribe", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            preexec_fn=default_signals,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stderr is not None
        self.addCleanup(process.stderr.close)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.assertIn(b"subscribed to", process.stderr.readline())
        return process

    def test_publish_and_subscribe(self) -> None:
        """Bodies from words or standard input come out one a line, as soon as they are there."""
        process = self.subscriber("news")
        assert process.stdout is not None
        self.assert_prints("ok\n", "publish", "news", "hello", "world")
        self.assertEqual(process.stdout.readline(), b"hello world\n")
        self.assert_prints("ok\n", "publish", "news", stdin=b'{"a": 1}')
        self.assertEqual(process.stdout.readline(), b'{"a": 1}\n')
        process.send_signal(2)
        self.assertEqual(process.wait(60), 0)

    def test_count_and_queue(self) -> None:
        """``--count`` leaves by itself; members of a queue share."""
        one, two = (
            self.subscriber("news", "--count=1", "--queue=q"),
            self.subscriber("news", "--count=1", "--queue", "q"),
        )
        for body in ("a", "b"):
            self.assert_prints("ok\n", "publish", "news", body)
        said = sorted(process.communicate(timeout=60)[0] for process in (one, two))
        self.assertEqual(said, [b"a\n", b"b\n"])
        self.assertEqual((one.returncode, two.returncode), (0, 0))

    def test_whole_messages(self) -> None:
        """``--format=json`` prints header and body."""
        process = self.subscriber("news", "--count=1", "--format=json")
        self.assert_prints("ok\n", "publish", "news", "hello")
        message = json.loads(process.communicate(timeout=60)[0])
        self.assertEqual(message["Body"], "aGVsbG8=")


class FarewellTests(SynchronousTestCase):
    def test_subscribers_are_told(self) -> None:
        """A daemon that stops ends subscriptions with a reason, exit code 4."""
        with running_daemon() as daemon:
            process = subprocess.Popen(
                [script("micro"), f"--proxy_address=127.0.0.1:{daemon.port}", "subscribe", "news"],
                stderr=subprocess.PIPE,
                env=environment(),
                preexec_fn=default_signals,
            )
            assert process.stderr is not None
            process.stderr.readline()
            daemon.signal()
            self.assertIn(b"1001", process.communicate(timeout=60)[1])
            self.assertEqual(process.returncode, 4)
            self.assertEqual(daemon.wait(), 0)

    def test_https(self) -> None:
        """With the authority given, or with --insecure; else it is refused."""
        home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, home)
        issuer = authority(home)
        cert, key = issuer.issue("server")
        with running_daemon([f"--tls_cert_file={cert}", f"--tls_key_file={key}"]) as daemon:
            address = f"--proxy_address=https://localhost:{daemon.port}"
            for trust in (f"--ca_file={issuer.ca_file}", "--insecure"):
                self.assertEqual(run("micro", [address, trust, "list", "services"]).returncode, 0)
                done = subprocess.Popen(
                    [script("micro"), address, trust, "subscribe", "news", "--count=1"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment(),
                    preexec_fn=default_signals,
                )
                assert done.stderr is not None
                self.assertIn(b"subscribed", done.stderr.readline())
                self.assertEqual(run("micro", [address, trust, "publish", "news", "hello"]).stdout, b"ok\n")
                self.assertEqual(done.communicate(timeout=60)[0], b"hello\n")
            refused = run("micro", [address, "list", "services"])
            self.assertIn(
                b"not trusted: self-signed certificate in certificate chain", refused.stderr.replace(b"self ", b"self-")
            )
            for words in (["list", "services"], ["subscribe", "news"]):
                refused = run("micro", [address, *words])
                self.assertEqual((refused.returncode, refused.stdout), (4, b""))
                self.assertIn(b"certificate", refused.stderr.lower())
