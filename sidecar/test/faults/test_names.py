"""Names: of both families, of several addresses, odd ones, and a name service that says nothing at all."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.clients import blocking
from sidecar.test.doubles.programs.daemon import Answer, Daemon, running_daemon, script
from sidecar.test.doubles.programs.namespace import Namespace, unavailable

#: Seconds within which something has to happen on a loaded machine: far less than a look-up that nobody answers takes.
PATIENCE = 30.0
#: ``127.0.0.99`` to ``.101``: nobody listens there.
HOSTS = """
127.0.0.1 localhost
::1 localhost
127.0.0.1 both my_app -app
::1 both
127.0.0.99 several
127.0.0.100 several
127.0.0.101 several
127.0.0.1 several
169.254.169.254 metadata
"""
#: One look-up takes two minutes.
SILENT = "nameserver 127.0.0.53\noptions timeout:30 attempts:4\n"


class NamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        reason = unavailable()
        if reason:
            raise SkipTest(reason)
        self.space = Namespace.make()
        self.addCleanup(self.space.remove)
        self.space.write("hosts", HOSTS)
        self.space.write("resolv.conf", SILENT)
        self.silent = self.space.socket(socket.SOCK_DGRAM)
        self.addCleanup(self.silent.close)
        self.silent.bind(("127.0.0.53", 53))
        self.checks: list[str] = []
        self.calls = 0

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        self.calls += path != "/healthy"
        if path == "/healthy":
            self.checks.append(headers["host"])
            return 200, b"ok"
        return 200, json.dumps({"id": json.loads(body).get("id"), "result": {"ok": True}, "error": None}).encode()

    def app(self, host: str = "127.0.0.1") -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        app = blocking.App.listen(self.space.socket(family=family), self.answer, host)
        self.addCleanup(app.close)
        return app.port

    def daemon(self, *flags: str) -> Daemon:
        daemon = running_daemon(flags, prefix=self.space.prefix)
        self.addCleanup(daemon.stop)
        return daemon

    def ask(self, daemon: Daemon, method: str, path: str, body: object = None, **headers: str) -> Answer:
        def connect(port: int) -> socket.socket:
            sock = self.space.socket()
            sock.settimeout(PATIENCE)
            sock.connect(("127.0.0.1", port))
            return sock

        data = json.dumps(body) if body is not None else None
        return blocking.ask(connect, daemon.port, method, path, data, {"Content-Type": "application/json", **headers})

    def register(self, daemon: Daemon, name: str, host: str, port: int, protocol: str = "mucp") -> None:
        node = {"id": f"{name}-1", "address": host, "port": port, "metadata": {"protocol": protocol}}
        answer = self.ask(daemon, "POST", "/registry", {"name": name, "nodes": [node]})
        self.assertEqual(answer.status, 200, answer.body)

    def call(self, daemon: Daemon, name: str, timeout: str = "20s") -> int:
        call = {"service": name, "method": "A.B", "request": {}}
        return self.ask(daemon, "POST", "/rpc", call, Timeout=timeout).status

    def soon(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"not within {PATIENCE} s: {what}")
            time.sleep(0.02)

    def test_addresses(self) -> None:
        """Calls go to whichever family and address of a name there is an app at, in the dialects over HTTP/1.1."""
        daemon = self.daemon()
        v4, v6 = self.app(), self.app("::1")
        hosts = (("localhost", v4), ("localhost", v6), ("both", v6), ("several", v4), ("my_app", v4), ("-app", v4))
        for number, (host, port) in enumerate((*hosts, ("::1", v6))):
            for protocol in ("mucp", "http"):
                name = f"{protocol}-{number}"
                self.register(daemon, name, host, port, protocol)
                self.assertEqual(self.call(daemon, name), 200, f"{host}:{port} by {protocol}")

    def test_checks(self) -> None:
        """An app is checked by any name that it can be called by."""
        for host, at in (("my_app", "127.0.0.1"), ("-app", "127.0.0.1"), ("both", "::1"), ("[::1]", "::1")):
            port = self.app(at)
            url = f"--healthcheck_url=http://{host}:{port}/healthy"
            where = f"--server_address={host}:{port}".replace("=-app", "=my_app")
            daemon = self.daemon("--server_name=app", where, url)
            self.soon(lambda daemon=daemon: self.ask(daemon, "GET", "/health").status == 200, url)  # type: ignore[misc]
            self.assertIn(f"{host}:{port}", self.checks)
            self.assertEqual(self.call(daemon, "app"), 200)
            daemon.stop()

    def test_metadata(self) -> None:
        """A cloud's metadata is no node in any spelling, and is never connected to; unless that is allowed."""
        subprocess.run([*self.space.prefix, "ip", "address", "add", "169.254.169.254/32", "dev", "lo"], check=True)
        port = self.app("169.254.169.254")
        daemon = self.daemon("--rpc_any_address")
        for host in ("169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]"):
            node = {"id": "a-1", "address": host, "port": port}
            answer = self.ask(daemon, "POST", "/registry", {"name": "a", "nodes": [node]})
            self.assertEqual(answer.status, 400, host)
            self.assertIn(b"nodes[0].address: ", answer.body)
            self.assertIn(b"--allow_addresses", answer.body)
            call = {"service": "a", "method": "A.B", "request": {}, "address": f"{host}:{port}"}
            answer = self.ask(daemon, "POST", "/rpc", call)
            self.assertGreaterEqual(answer.status, 400, host)
            self.assertNotIn(b"ok", answer.body)
        for protocol in ("mucp", "http", "grpc"):
            self.register(daemon, protocol, "metadata", port, protocol)
            self.assertEqual(self.call(daemon, protocol), 502)
        self.assertEqual(self.calls, 0)
        daemon.stop()
        daemon = self.daemon("--allow_addresses=169.254.169.0/24")
        self.register(daemon, "a", "0xa9fea9fe", port)
        self.register(daemon, "b", "metadata", port)
        self.assertEqual([self.call(daemon, "a"), self.call(daemon, "b")], [200, 200])

    def test_silence(self) -> None:
        """While nobody answers for hundreds of names, an app with a name that is known is called, checked and stays
        registered; and the sidecar leaves when it is told to."""
        port = self.app()
        daemon = self.daemon(
            "--server_name=app",
            f"--server_address=localhost:{port}",
            f"--healthcheck_url=http://localhost:{port}/healthy",
            "--healthcheck_interval=300ms",
            "--healthcheck_timeout=5s",
        )
        self.soon(lambda: self.ask(daemon, "GET", "/registry?service=app").status == 200, "registered")
        for number in range(100):
            self.register(daemon, f"silent-{number}", f"silent-{number}.example", 80)
        with ThreadPoolExecutor(100) as callers:
            calls = [callers.submit(self.call, daemon, f"silent-{number}", "2s") for number in range(100)]
            before = len(self.checks)
            for _ in range(20):
                self.assertEqual(self.call(daemon, "app"), 200)
            self.soon(lambda: len(self.checks) >= before + 3, "checks go on")
            self.assertEqual(self.ask(daemon, "GET", "/registry?service=app").status, 200)
            self.assertLessEqual({call.result() for call in calls}, {502, 503, 504})
        self.assertEqual(self.ask(daemon, "GET", "/health").status, 200)
        self.assertNotIn("Deregistering", daemon.output)
        daemon.signal()
        self.assertEqual(daemon.wait(PATIENCE), 0)

    def test_command(self) -> None:
        """A command of ``micro`` ends within its timeout though the sidecar's name is never found, and a subscriber
        leaves when it is told to."""
        micro = [*self.space.prefix, script("micro"), "--proxy_address=silent.example:8081"]
        ended = subprocess.run([*micro, "--timeout=1s", "list", "services"], capture_output=True, timeout=PATIENCE)
        self.assertEqual(ended.returncode, 124, ended.stderr)
        self.assertIn(b"silent.example", ended.stderr)
        with subprocess.Popen([*micro, "subscribe", "t"], stderr=subprocess.PIPE) as subscriber:
            self.addCleanup(subscriber.kill)
            self.assertIn(b"silent", self.silent.recv(512))  # it asks
            self.assertIn(b"silent", self.silent.recv(512))
            subscriber.terminate()
            subscriber.wait(PATIENCE)
