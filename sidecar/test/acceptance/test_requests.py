"""What callers send, as they send it: to a real daemon, over real sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.programs.daemon import Answer, running_daemon

JSON = {"Content-Type": "application/json"}
MARK = b"\xef\xbb\xbf"


class Requests(SynchronousTestCase):
    """A daemon, with two versions of a service that answers what it was asked."""

    def setUp(self) -> None:
        self.requests: list[object] = []
        self.delay = 0.0
        self.app = App.listen(socket.socket(), self.answer)
        self.addCleanup(self.app.close)
        running = running_daemon(["--sidecar_cors=https://app.example.com", "--sidecar_hosts=micro.example.com"])
        self.live = running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        for version in ("1.0", "2.0"):
            node = {"id": f"foo-{version}", "address": f"127.0.0.1:{self.app.port}"}
            service = {"name": "foo", "version": version, "nodes": [node]}
            self.assertEqual(self.ask("POST", "/registry", json.dumps(service).encode()).status, 200)

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        (asked,) = json.loads(body)["params"]
        self.requests.append(asked)
        time.sleep(self.delay)
        return 200, json.dumps({"id": "", "result": asked, "error": None}).encode()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.live.request(method, path, body, {**JSON, **fields})

    def refused(self, status: int, words: tuple[str, ...], answer: Answer) -> None:
        self.assertEqual((answer.status, answer.json["code"]), (status, status), answer.body)
        self.assertTrue(answer.body.endswith(b"}\n"))
        for word in words:
            self.assertIn(word, answer.json["detail"])

    def test_nothing_is_lost(self) -> None:
        """The body is the request where the query names service and method; slips are refused; versions narrow."""
        where = "/rpc?service=foo&method=Say.Hello"
        for body in (b'{"x":1}', MARK + b'{"x":1}', b'{"request":{"x":1}}'):
            self.assertEqual(self.ask("POST", where, body).status, 200, body)
        self.assertEqual(self.requests, [{"x": 1}] * 3)
        call = {"service": "foo", "method": "Say.Hello"}
        for more, words in (
            ({"params": [1]}, ("params", "request")),
            ({"request": {}, "adress": "h:1"}, ("adress", "address")),
            ({"reqest": {}}, ("reqest", "request")),
        ):
            self.refused(400, words, self.ask("POST", "/rpc", json.dumps({**call, **more}).encode()))
        self.refused(400, ("tll", "ttl"), self.ask("POST", "/registry?tll=10s", b"{}"))
        self.assertEqual(self.ask("GET", "/registry?service=foo&_=1&ts=2").status, 200)
        narrow = json.dumps({**call, "request": {}, "version": "3.0"}).encode()
        self.refused(404, ("3.0", "1.0", "2.0"), self.ask("POST", "/rpc", narrow))
        self.refused(404, ("3.0", "1.0", "2.0"), self.ask("GET", "/registry?service=foo&version=3.0"))
        found = self.ask("GET", "/registry?service=foo&version=2.0").json
        self.assertEqual([node["id"] for node in found["nodes"]], ["foo-2.0"])

    def test_nanoseconds(self) -> None:
        """A Timeout header that an app hands on from its own caller means what it meant there."""
        self.assertEqual(self.ask("POST", "/rpc?service=foo&method=A.B", b"{}", Timeout="5000000000").status, 200)
        self.delay = 1.0
        self.assertEqual(self.ask("POST", "/rpc?service=foo&method=A.B", b"{}", Timeout="50000000").status, 504)

    def test_consul(self) -> None:
        """A service definition of Consul's is told the form that is wanted, which is taken as it stands."""
        answer = self.ask("POST", "/registry", b'{"ID":"web-1","Name":"web","Address":"10.0.0.1","Port":80}')
        self.refused(400, ("Consul",), answer)
        wanted = answer.json["detail"].partition("form: ")[2]
        self.assertEqual(self.ask("POST", "/registry", wanted.encode()).status, 200)

    def test_pages(self) -> None:
        """No page writes by a form, or reads under its own name; those that are named may."""
        node = b'{"name":"evil","nodes":[{"id":"evil-1","address":"10.0.0.1:80"}]}'
        self.refused(421, ("evil.example",), self.ask("GET", "/registry", Host="evil.example:8081"))
        self.assertEqual(self.ask("GET", "/registry", Host="micro.example.com").status, 200)
        for origin in ("http://evil.example", "null"):
            self.refused(403, ("127.0.0.1", "nginx"), self.ask("POST", "/registry", node, Origin=origin))
        self.refused(403, (), self.ask("POST", "/registry", node, Sec_Fetch_Site="cross-site"))
        self.assertEqual(self.ask("GET", "/registry?service=evil").status, 404)
        permitted = self.ask("POST", "/registry", node, Origin="https://app.example.com")
        self.assertEqual(permitted.status, 200)
        self.assertEqual(permitted.headers["access-control-allow-origin"], "https://app.example.com")
        preflight = self.ask(
            "OPTIONS",
            "/rpc",
            Origin="https://app.example.com",
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="timeout, cookie",
        )
        self.assertIn("timeout", preflight.headers["access-control-allow-headers"])
        self.assertNotIn("cookie", preflight.headers["access-control-allow-headers"])
        self.assertEqual(preflight.headers["access-control-max-age"], "7200")
