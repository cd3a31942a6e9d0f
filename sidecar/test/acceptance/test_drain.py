"""A daemon that is told to leave while everybody wants something of it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping

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
