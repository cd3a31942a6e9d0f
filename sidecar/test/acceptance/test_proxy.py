"""The proxy's journey, as its users make it: uploads, downloads, WebSockets, server-sent events, nodes that die."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import WebSocket
from sidecar.test.doubles.programs.daemon import Answer, Daemon, running_daemon
from sidecar.test.doubles.programs.process import free_port, not_installed
from sidecar.test.doubles.servers.httpnode import HttpNode, NodeConnection, NodeRequest, echo_websocket, raw, zeros

#: Bytes that stand for a large body here; ``python -m bench.streaming`` and the documentation tell of 1 GB.
LARGE = 48 * 1024 * 1024
#: How much the daemon may grow over it.
SLACK = 24 * 1024 * 1024
PATIENCE = 60.0


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def silent(connection: NodeConnection, request: NodeRequest) -> None:
    """Answer nothing until the client leaves."""
    connection.line()


class ProxyCase(SynchronousTestCase):
    """A sidecar with ``--sidecar_handler=proxy`` and one node of ``go.micro.srv.app``."""

    skip = not_installed()
    flags: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.daemon = self.start()
        self.node = self.add_node("app-1")

    def start(self) -> Daemon:
        daemon = running_daemon(("--sidecar_handler=proxy", *self.flags))
        self.addCleanup(daemon.stop)
        return daemon

    def add_node(self, id: str, service: str = "go.micro.srv.app", **metadata: str) -> HttpNode:
        node = HttpNode()
        self.addCleanup(node.stop)
        self.register(id, node.port, service, **metadata)
        return node

    def register(self, id: str, port: int, service: str = "go.micro.srv.app", **metadata: str) -> None:
        told = {"name": service, "nodes": [{"id": id, "address": "127.0.0.1", "port": port, "metadata": metadata}]}
        self.assertEqual(self.daemon.request("POST", "/registry", json.dumps(told)).status, 200)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.daemon.request(method, path, body, fields)

    def exchange(self, data: bytes) -> bytes:
        """Send bytes as they are. :returns: all that comes back until the connection ends."""
        with connect(self.daemon.port) as sock:
            sock.sendall(data)
            found = b""
            while piece := sock.recv(65536):
                found += piece
        return found

    def memory(self) -> int:
        """Bytes that the daemon held at most."""
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
        return int(peak) * 1024

    def wait_until(self, there: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not there():
            self.assertLess(time.monotonic(), deadline, self.daemon.output)
            time.sleep(0.02)


class Requests(ProxyCase):
    def test_any_method(self) -> None:
        """Goes on as it is, path and query untouched, OPTIONS without an Origin included."""
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "BREW"):
            told = self.ask(method, "/app/a%2Fb//c;x?q=%20&q").json
            self.assertEqual((told["method"], told["target"]), (method, "/app/a%2Fb//c;x?q=%20&q"))
        head = self.ask("HEAD", "/app/")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertGreater(int(head.headers["content-length"]), 10)

    def test_connections_are_counted(self) -> None:
        """``/metrics`` counts the connections that forwarded requests use among those to nodes."""
        self.ask("GET", "/app/")
        self.assertIn('microsidecar_pool_connections{state="idle"} 1.0', self.ask("GET", "/metrics").body.decode())

    def test_header_fields(self) -> None:
        """Host as it came, the way here told, nothing of one hop."""
        told = self.ask("GET", "/app/", Cookie="a=b", Connection="X-Hop", X_Hop="1", X_Forwarded_For="1.2.3.4").json
        fields = {name.lower(): value for name, value in told["fields"]}
        self.assertEqual((fields["host"], fields["cookie"]), (f"127.0.0.1:{self.daemon.port}", "a=b"))
        self.assertEqual(fields["x-forwarded-for"], "1.2.3.4, 127.0.0.1")
        self.assertEqual((fields["x-forwarded-proto"], fields["x-forwarded-host"]), ("http", fields["host"]))
        self.assertEqual(fields["forwarded"], f'for=127.0.0.1;host="{fields["host"]}";proto=http')
        self.assertNotIn("x-hop", fields)
        self.assertTrue(fields["x-request-id"])

    def test_answers(self) -> None:
        """Status, phrase and fields are the node's, each cookie by itself; an error of its own stays its own."""
        self.node.scripts["/app/odd"] = raw(
            b"HTTP/1.1 299 Quite fine\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nServer: node\r\nConnection: close, X-Hop\r\n"
            b"X-Hop: 1\r\nContent-Length: 2\r\n\r\nok"
        )
        heard = self.exchange(b"GET /app/odd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = heard.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 299 Quite fine\r\n"), head)
        self.assertEqual((head.count(b"Set-Cookie: "), head.count(b"Server: "), body), (2, 1, b"ok"))
        self.assertIn(b"Server: node", head)
        self.assertNotIn(b"X-Hop", head)
        self.node.scripts["/app/ill"] = raw(b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbug")
        heard_ill = self.ask("GET", "/app/ill")
        self.assertEqual((heard_ill.status, heard_ill.body), (500, b"bug"))

    def test_host_of_a_node(self) -> None:
        """A node's metadata ``host`` replaces what the client sent."""
        self.add_node("other-1", "go.micro.srv.other", host="internal.example")
        fields = dict(self.ask("GET", "/other/").json["fields"])
        self.assertEqual(fields["Host"], "internal.example")
        self.assertEqual(fields["X-Forwarded-Host"], f"127.0.0.1:{self.daemon.port}")

    def test_trailers_both_ways(self) -> None:
        """What follows a body in chunks follows it on the other side."""
        self.node.scripts["/app/sum"] = raw(
            b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n",
        )
        heard = self.exchange(
            b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-T: v\r\n\r\n"
            b"GET /app/sum HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        self.assertIn(b'"trailers": ["X-T: v"]', heard)
        self.assertTrue(heard.endswith(b"5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n"), heard)

    def test_old_clients(self) -> None:
        """HTTP/1.0 gets the body without chunks, and the end of the connection."""
        self.node.scripts["/app/sum"] = raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", b"hello\r\n", b"0\r\n\r\n"
        )
        heard = self.exchange(b"GET /app/sum HTTP/1.0\r\n\r\n")
        self.assertTrue(heard.endswith(b"\r\n\r\nhello"), heard)

    def test_our_own_paths(self) -> None:
        """Win by exact path and method; everything else is a service's."""
        self.assertEqual(self.ask("GET", "/health").json, {"status": "ok"})
        self.add_node("health-1", "go.micro.srv.health")
        self.assertEqual(self.ask("GET", "/health/check").json["target"], "/health/check")
        self.assertEqual(self.ask("DELETE", "/health").json["method"], "DELETE")

    def test_errors_of_ours(self) -> None:
        """An unknown service is 404 and named; one that nobody serves 502; error JSON each."""
        heard = self.ask("GET", "/nope/x")
        self.assertEqual((heard.status, heard.json["id"]), (404, "go.micro.api"))
        self.assertIn("go.micro.srv.nope", heard.json["detail"])
        self.register("gone-1", free_port(), "go.micro.srv.gone")
        heard = self.ask("GET", "/gone/x", Micro_Explain="1")
        self.assertEqual(heard.status, 502)
        self.assertIn("connection refused", heard.json["detail"])
        self.assertIn("gone-1", heard.headers["micro-receipt"])

    def test_receipts_and_metrics(self) -> None:
        """As for calls."""
        self.assertIn("app-1", self.ask("GET", "/app/", Micro_Explain="1").headers["micro-receipt"])
        self.assertIn("go.micro.srv.app", self.ask("GET", "/metrics").body.decode())


class LargeBodies(ProxyCase):
    flags = ("--max_body=64KiB",)

    def pieces(self) -> Iterator[bytes]:
        for at in range(0, LARGE, 65536):
            yield at.to_bytes(8, "big") * 8192

    def test_upload_and_download(self) -> None:
        """Bodies beyond --max_body go both ways whole, with a length and in chunks, in memory that does not grow."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        before = self.memory()
        for headers, chunked in (({"Content-Length": str(LARGE)}, False), ({}, True)):
            connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)
            connection.request("PUT", "/app/up", self.pieces(), headers, encode_chunked=chunked)
            told = json.loads(connection.getresponse().read())
            connection.close()
            self.assertEqual((told["size"], told["digest"]), (LARGE, digest.hexdigest()))
        self.node.scripts["/app/down"] = zeros(LARGE)
        self.assertEqual(len(self.ask("GET", "/app/down").body), LARGE)
        self.assertLess(self.memory() - before, SLACK)

    def test_slow_readers(self) -> None:
        """A client that does not read keeps the node waiting, and the daemon small."""
        before = self.memory()
        self.node.scripts["/app/down"] = zeros(LARGE)
        with connect(self.daemon.port) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            sock.sendall(b"GET /app/down HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertTrue(sock.recv(1000))
            self.assertEqual(self.ask("GET", "/health").status, 200)
            self.assertLess(self.memory() - before, SLACK)
            size = 0
            while piece := sock.recv(1 << 20):
                size += len(piece)
        self.assertGreater(size, LARGE - 1000)

    def test_answered_before_the_end(self) -> None:
        """A node that refuses an upload is heard while the body is still coming."""

        self.node.early = b"HTTP/1.1 413 Too large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        heard = self.exchange(b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))
        self.assertTrue(heard.startswith(b"HTTP/1.1 413 Too large"), heard)
        self.assertTrue(heard.endswith(b"no"), heard)


class LongAnswers(ProxyCase):
    def test_server_sent_events(self) -> None:
        """Arrive one by one, while the answer is still open."""
        go_on = [False]

        def events(connection: NodeConnection, request: NodeRequest) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 0\n\n")
            self.wait_until(lambda: go_on[0])
            connection.send(b"data: 1\n\n")
            raise ConnectionError("that is all")

        self.node.scripts["/app/events"] = events
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=PATIENCE)
        connection.request("GET", "/app/events")
        answer = connection.getresponse()
        self.assertEqual(answer.readline() + answer.readline(), b"data: 0\n\n")
        go_on[0] = True
        self.assertEqual(answer.read(), b"data: 1\n\n")
        connection.close()

    def test_websocket(self) -> None:
        """A chat passes as it is, both ways."""
        self.node.scripts["/app/chat"] = echo_websocket
        chat = WebSocket.open(connect, self.daemon.port, "/app/chat?room=1")
        for text in ("hello", "how are you", "bye"):
            chat.send(text)
            self.assertEqual(chat.receive(PATIENCE), text)
        self.assertEqual(self.node.seen[-1].target, "/app/chat?room=1")
        chat.close()

    def test_websockets_of_foreign_pages(self) -> None:
        """Are refused, and so is what changes something."""
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
        for lines in (f"GET /app/chat HTTP/1.1\r\nConnection: Upgrade, close\r\n{key}", "POST /app/ HTTP/1.1\r\n"):
            heard = self.exchange(
                f"{lines}Host: 127.0.0.1\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n".encode()
            )
            self.assertTrue(heard.startswith(b"HTTP/1.1 403 "), heard)
        self.assertEqual(self.node.seen, [])

    def test_a_client_that_leaves(self) -> None:
        """Ends the request at the node."""
        ended = [False]

        def wait(connection: NodeConnection, request: NodeRequest) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\n\r\nfirst")
            try:
                connection.line()
            finally:
                ended[0] = True

        self.node.scripts["/app/wait"] = wait
        with connect(self.daemon.port) as sock:
            sock.sendall(b"GET /app/wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(sock.recv(1000))
        self.wait_until(lambda: ended[0])


class Deadline(ProxyCase):
    flags = ("--client_request_timeout=500ms",)

    def test_no_answer_in_time(self) -> None:
        """The deadline is for the head of the answer."""
        self.node.scripts["/app/wait"] = silent
        self.assertEqual(self.ask("GET", "/app/wait").status, 504)


class Silence(ProxyCase):
    flags = ("--body_timeout=1s", "--idle_timeout=1s")

    def test_in_a_body(self) -> None:
        """A client that sends no more of its body is told so."""
        with connect(self.daemon.port) as sock:
            sock.sendall(b"POST /app/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nx")
            found = b""
            while piece := sock.recv(65536):
                found += piece
        self.assertTrue(found.startswith(b"HTTP/1.1 408 "), found)

    def test_after_the_head(self) -> None:
        """Ends an answer, visibly cut."""

        def half(connection: NodeConnection, request: NodeRequest) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            connection.line()

        self.node.scripts["/app/half"] = half
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            self.ask("GET", "/app/half")


class NodesThatDie(ProxyCase):
    def test_before_a_request(self) -> None:
        """Another node takes it, and with it its body."""
        self.register("app-dead", free_port())
        for _ in range(20):
            self.assertEqual(self.ask("POST", "/app/", b"abc").json["size"], 3)

    def test_in_the_middle_of_an_answer(self) -> None:
        """The client sees that it is cut, and the next request goes to the node that lives."""

        def half(connection: NodeConnection, request: NodeRequest) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            self.node.stop()
            raise ConnectionError("killed")

        self.node.scripts["/app/half"] = half
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            self.ask("GET", "/app/half")
        self.add_node("app-2")
        for _ in range(10):
            self.assertEqual(self.ask("GET", "/app/").status, 200)

    def test_in_the_middle_of_a_body(self) -> None:
        """What has begun to go is not sent again: 502, and no other node sees it."""
        other = self.add_node("app-2")

        def killed(connection: NodeConnection, request: NodeRequest) -> None:
            raise ConnectionError("killed")

        for node in (self.node, other):
            node.scripts["/app/kill"] = killed
        heard = self.ask("POST", "/app/kill", b"abc")
        self.assertEqual(heard.status, 502)
        self.assertEqual(len(self.node.seen) + len(other.seen), 1)

    def test_connections_that_idled(self) -> None:
        """A node that closes them loses no GET: it is sent again on a fresh one."""
        closing = [False]

        def once(connection: NodeConnection, request: NodeRequest) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            if closing[0]:
                raise ConnectionError("closed without a word")

        self.node.scripts["/app/once"] = once
        for number in range(30):
            closing[0] = number % 2 == 0
            self.assertEqual(self.ask("GET", "/app/once").body, b"ok")


class WebApps(SynchronousTestCase):
    skip = not_installed()

    def test_namespaces(self) -> None:
        """``web`` looks in go.micro.web unless a namespace is given; an empty one prefixes nothing."""
        for flags, name in (
            (("--handler=web",), "go.micro.web.app"),
            (("--sidecar_handler=web", "--namespace=com.example"), "com.example.app"),
            (("--sidecar_handler=http", "--sidecar_namespace="), "app"),
        ):
            node = HttpNode()
            self.addCleanup(node.stop)
            with running_daemon(flags) as daemon:
                told = {"name": name, "nodes": [{"id": "app-1", "address": "127.0.0.1", "port": node.port}]}
                daemon.request("POST", "/registry", json.dumps(told))
                self.assertEqual(daemon.request("GET", "/app/x").json["target"], "/app/x", flags)
