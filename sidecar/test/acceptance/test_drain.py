"""A daemon that is told to leave while everybody wants something of it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping

import h2.config
import h2.connection
from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App, WebSocket
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon

#: Seconds for something that has to happen on a loaded machine.
PATIENCE = 60.0
CALLERS = 100
SUBSCRIBERS = 20


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


class DrainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Event()
        sock = socket.socket()
        self.app = App.listen(sock, self.slowly)
        self.addCleanup(self.app.close)
        self.addCleanup(self.go_on.set)
        args = ("--server_name=foo", f"--server_address=127.0.0.1:{self.app.port}", "--client_request_timeout=60s")
        self.daemon: Daemon = running_daemon(args)
        self.addCleanup(self.daemon.stop)

    def slowly(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Answer when the test says so."""
        self.arrived.release()
        self.go_on.wait(PATIENCE)
        call = json.loads(body)
        return 200, json.dumps({"id": call["id"], "result": call["params"][0], "error": None}).encode()

    def call(self, number: int, answers: dict[int, tuple[int, bytes, str | None]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/rpc", f"service=foo&method=Say.Hello&request={number}")
            answer = connection.getresponse()
            answers[number] = (answer.status, answer.read(), answer.getheader("Connection"))
        finally:
            connection.close()

    def test_under_load(self) -> None:
        """SIGTERM under 100 slow calls and 20 WebSockets: the app leaves, the port closes, every call is answered, the
        WebSockets are closed with 1001, exit code 0, nothing in the log that should not be there."""
        subscribers = [WebSocket.open(connect, self.daemon.port, "/broker?topic=t") for _ in range(SUBSCRIBERS)]
        for subscriber in subscribers:
            self.addCleanup(subscriber.close)
        answers: dict[int, tuple[int, bytes, str | None]] = {}
        callers = [threading.Thread(target=self.call, args=(number, answers)) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        for _ in callers:
            self.assertTrue(self.arrived.acquire(timeout=PATIENCE))

        self.daemon.signal()
        self.until(self.closed, "the port closes")
        self.assertEqual(answers, {}, "the calls are still in flight")
        self.go_on.set()
        for caller in callers:
            caller.join(PATIENCE)

        expected = {number: (200, str(number).encode(), "close") for number in range(CALLERS)}
        self.assertEqual(answers, expected)
        self.assertEqual({subscriber.receive(PATIENCE) for subscriber in subscribers}, {1001})
        self.assertEqual(self.daemon.wait(PATIENCE), 0)
        output = self.daemon.output
        self.assertLess(output.index("Deregistering foo-"), output.index(f"No longer listening on {self.daemon.url}"))
        for alarm in ("Traceback", "Unhandled", "did not stop"):
            self.assertNotIn(alarm, output)

    def test_patience_ends(self) -> None:
        """Calls that do not end are given up when the drain's patience ends, and the daemon leaves in order."""
        self.daemon.stop()
        args = ("--server_name=foo", f"--server_address=127.0.0.1:{self.app.port}", "--client_request_timeout=60s")
        self.daemon = running_daemon([*args, "--drain_timeout=1s"])
        self.addCleanup(self.daemon.stop)
        caller = connect(self.daemon.port)
        self.addCleanup(caller.close)
        form = b"service=foo&method=Say.Hello&request=1"
        caller.sendall(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(form) + form)
        self.assertTrue(self.arrived.acquire(timeout=PATIENCE))
        self.daemon.signal()
        self.assertEqual(self.daemon.wait(PATIENCE), 0)
        self.assertNotIn("Traceback", self.daemon.output)

    def closed(self) -> bool:
        try:
            connect(self.daemon.port).close()
        except ConnectionError:
            return True
        return False

    def until(self, condition: object, what: str) -> None:
        assert callable(condition)
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"not within {PATIENCE} s: {what}")
            time.sleep(0.05)


class InboundDrainTests(SynchronousTestCase):
    """The port at which an app that speaks plain HTTP is answered for, while calls are under way on it."""

    CALLS = 4

    def setUp(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Event()
        sock = socket.socket()
        self.app = App.listen(sock, self.slowly)
        self.addCleanup(self.app.close)
        self.addCleanup(self.go_on.set)
        args = ("--server_name=foo", f"--server_address=127.0.0.1:{self.app.port}", "--server_protocol=http")
        self.daemon: Daemon = running_daemon(args)
        self.addCleanup(self.daemon.stop)
        (node,) = self.daemon.request("GET", "/registry?service=foo").json["nodes"]
        self.port = int(node["port"])
        self.answers: list[bytes] = []

    def slowly(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Answer when the test says so."""
        self.arrived.release()
        self.go_on.wait(PATIENCE)
        return 200, body

    def mucp(self, number: int) -> bytes:
        """A call as go-micro's HTTP transport sends it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        call = json.dumps({"method": "Say.Hello", "params": [{"n": number}], "id": number})
        fields = {"Content-Type": "application/json-rpc", "Micro-Service": "foo", "Micro-Method": "Say.Hello"}
        connection.request("POST", "/", call, fields)
        said = json.load(connection.getresponse())
        connection.close()
        return json.dumps(said["result"]).encode()

    def grpc(self, number: int) -> bytes:
        """A call as a v2 client sends it, which is told meanwhile that the connection takes no more."""
        sock = connect(self.port)
        state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        state.initiate_connection()
        fields = {":method": "POST", ":scheme": "http", ":path": "/foo.Say/Hello", ":authority": "foo"}
        state.send_headers(1, [*fields.items(), ("content-type", "application/grpc+json")])
        message = json.dumps({"n": number}).encode()
        state.send_data(1, len(message).to_bytes(5, "big") + message, end_stream=True)
        came = b""
        status = None
        while status is None:
            sock.sendall(state.data_to_send())
            data = sock.recv(65536)
            if not data:
                break
            # h2 takes no more after a GOAWAY, though the stream goes on: look at the frames as they are.
            came += data
            status = 0 if b'{"n": %d}' % number in came else None
        sock.close()
        return b'{"n": %d}' % number if status == 0 else came

    def drained(self, call: Callable[[int], bytes]) -> None:
        callers = [
            threading.Thread(target=lambda number=number: self.answers.append(call(number)))
            for number in range(self.CALLS)
        ]
        for caller in callers:
            caller.start()
        for _ in callers:
            self.assertTrue(self.arrived.acquire(timeout=PATIENCE))
        self.daemon.signal()
        deadline = time.monotonic() + PATIENCE
        while f"No longer listening on {self.daemon.url}" not in self.daemon.output and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # as long as it takes until idle connections are closed, and longer
        self.assertEqual(self.answers, [], "the calls are still under way")
        self.go_on.set()
        for caller in callers:
            caller.join(PATIENCE)
        self.assertEqual(sorted(self.answers), [b'{"n": %d}' % number for number in range(self.CALLS)])
        self.assertEqual(self.daemon.wait(PATIENCE), 0)
        self.assertNotIn("Traceback", self.daemon.output)

    def test_mucp(self) -> None:
        """SIGTERM with four calls of go-micro's own protocol under way: four answers, exit code 0."""
        self.drained(self.mucp)

    def test_grpc(self) -> None:
        """The same for four calls over gRPC."""
        self.drained(self.grpc)
