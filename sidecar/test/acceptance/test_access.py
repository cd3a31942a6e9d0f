"""A real daemon tells its callers apart, by tokens and by the users of its socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.certificates import authority
from sidecar.test.doubles.programs.daemon import Daemon, run, running_daemon

NODE = json.dumps({"name": "shop.cart", "nodes": [{"id": "cart-1", "address": "127.0.0.1", "port": 9}]})


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = str(Path(self.mktemp()).absolute())

    def token(self, name: str, *flags: str) -> str:
        made = run("micro", ["token", "new", name, *flags, "--file", self.file])
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.decode().strip()

    def daemon(self, *flags: str) -> Daemon:
        daemon = running_daemon([f"--auth_tokens={self.file}", "--access_log=all", *flags])
        self.addCleanup(daemon.stop)
        return daemon

    def test_lives(self) -> None:
        """A token is made, used, denied what it is not for, and revoked while the daemon runs; the log never has it."""
        shop = self.token("shop", "--role=read", "--role=register", "--service=shop.*", "--expires=90d")
        other = self.token("other", "--role=register")
        boss = self.token("boss", "--role=admin")
        daemon = self.daemon()

        def ask(method: str, path: str, token: str, body: str | None = None) -> int:
            return daemon.request(method, path, body, {"Authorization": f"Bearer {token}"}).status

        self.assertEqual(daemon.request("GET", "/registry").status, 401)
        self.assertEqual(daemon.request("GET", "/health").status, 200)
        self.assertEqual(ask("POST", "/registry", shop, NODE), 200)
        self.assertEqual(ask("POST", "/registry", shop, NODE.replace("shop.cart", "bank")), 403)
        self.assertEqual(ask("POST", "/registry", other, NODE), 409)
        self.assertEqual(ask("DELETE", "/registry", other, NODE), 403)
        self.assertEqual(ask("POST", "/reload", shop), 403)
        self.assertEqual(ask("DELETE", "/registry", boss, NODE), 200)
        self.assertEqual(run("micro", ["token", "revoke", "shop", "--file", self.file]).returncode, 0)
        self.assertEqual(ask("GET", "/registry", shop), 401)
        for secret in (shop, other, boss):
            self.assertNotIn(secret, daemon.output)
            self.assertNotIn(secret, Path(self.file).read_text())

    def test_live(self) -> None:
        """Who may read sees what happens, of the services that their token is for; bodies are for administrators."""
        reader = self.token("reader", "--role=read", "--service=shop.*")
        caller = self.token("caller", "--role=call")
        boss = self.token("boss", "--role=admin")
        daemon = self.daemon()

        def ask(path: str, token: str = "") -> int:
            connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
            self.addCleanup(connection.close)
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            return connection.getresponse().status  # of a stream the head alone is read

        self.assertEqual([ask(path) for path in ("/live", "/tap", "/errors")], [401] * 3)
        self.assertEqual([ask(path, caller) for path in ("/live", "/tap", "/errors")], [403] * 3)
        self.assertEqual([ask(path, reader) for path in ("/live", "/tap", "/errors")], [200] * 3)
        self.assertEqual(ask("/tap?service=shop.cart", reader), 200)
        self.assertEqual(ask("/tap?service=bank", reader), 403)
        self.assertEqual(ask("/errors?service=bank", reader), 403)
        self.assertEqual(ask("/tap?bodies=1", reader), 403)
        self.assertEqual(ask("/tap?bodies=1", boss), 200)

    def test_websockets(self) -> None:
        """A WebSocket opens with the token in a subprotocol, of which micro is chosen, or with a ticket, once."""
        token = self.token("page", "--role=subscribe", "--topic=news")
        daemon = self.daemon()
        chosen = self.handshake(daemon, "/broker?topic=news", f"micro, micro-token.{token}")
        self.assertIn("101", chosen.splitlines()[0])
        self.assertIn("sec-websocket-protocol: micro\r\n", chosen.lower())
        self.assertNotIn(token, chosen)
        self.assertIn(
            "403", self.handshake(daemon, "/broker?topic=olds", f"micro, micro-token.{token}").splitlines()[0]
        )
        self.assertIn("401", self.handshake(daemon, "/broker?topic=news", "micro").splitlines()[0])
        ticket = daemon.request("POST", "/ticket", headers={"Micro-Sidecar-Token": token}).json["ticket"]
        for status in ("101", "401"):
            heard = self.handshake(daemon, f"/broker?topic=news&ticket={ticket}", "micro")
            self.assertIn(status, heard.splitlines()[0])
        self.assertNotIn(token, daemon.output)
        self.assertNotIn(ticket, daemon.output)

    def test_watches(self) -> None:
        """Watching the registry takes the role read, by whichever way it is done; a page shows it by a ticket."""
        reader, caller = self.token("reader", "--role=read"), self.token("caller", "--role=call")
        daemon = self.daemon()
        for path in ("/registry/watch", "/registry?index=0", "/registry?at=2026-11-25T03:00:00Z"):
            self.assertEqual(daemon.request("GET", path).status, 401, path)
            self.assertEqual(daemon.request("HEAD", path, headers={"Micro-Sidecar-Token": caller}).status, 403, path)
            self.assertIn(
                daemon.request("HEAD", path, headers={"Micro-Sidecar-Token": reader}).status, (200, 410), path
            )
        for status, token in (("101", reader), ("403", caller)):
            heard = self.handshake(daemon, "/registry", f"micro, micro-token.{token}")
            self.assertIn(status, heard.splitlines()[0])
        self.assertIn("401", self.handshake(daemon, "/registry", "micro").splitlines()[0])
        ticket = daemon.request("POST", "/ticket", headers={"Micro-Sidecar-Token": reader}).json["ticket"]
        self.assertEqual(daemon.request("GET", f"/registry?index=0&ticket={ticket}").status, 200)

    @staticmethod
    def handshake(daemon: Daemon, path: str, protocols: str) -> str:
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as sock:
            sock.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                f"Sec-WebSocket-Protocol: {protocols}\r\n\r\n".encode()
            )
            heard = b""
            while b"\r\n\r\n" not in heard:
                part = sock.recv(65536)
                if not part:
                    break
                heard += part
            return heard.decode("latin-1")


class UserTests(SynchronousTestCase):
    def test_socket(self) -> None:
        """A Unix socket has the mode that was given, and its users the roles that the file gives them."""
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        roles = home / "roles.toml"
        roles.write_text(f'["uid:{os.geteuid()}"]\nroles = ["read"]\n')
        # Its path may be longer than a socket's can be.
        folder = os.open(home, os.O_RDONLY)
        self.addCleanup(os.close, folder)
        path = f"/proc/{os.getpid()}/fd/{folder}/s"
        with running_daemon([f"--port=unix:{path}", "--socket_mode=0600", f"--auth_roles={roles}"]):
            self.assertEqual((home / "s").stat().st_mode & 0o777, 0o600)
            self.assertIn("200 OK", self.ask(path, "GET /registry"))
            self.assertIn("the role admin", self.ask(path, "POST /reload"))
            roles.write_text('"uid:4000000" = ["read"]\n')
            self.assertIn("401", self.ask(path, "GET /registry"))

    def test_shares(self) -> None:
        """A user has a share of each kind at a Unix socket; what is beyond it is 503, says what was reached, by which
        flag, and when to come again."""
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        folder = os.open(home, os.O_RDONLY)
        self.addCleanup(os.close, folder)
        path = f"/proc/{os.getpid()}/fd/{folder}/s"
        shares = ("connections=4", "requests=1", "websockets=1", "subscriptions=2")
        flags = [f"--max_peer_{share}" for share in shares]
        upgrade = (
            "GET /broker?topic=t HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        watch = "GET /registry/watch HTTP/1.1\r\nHost: x\r\n\r\n"
        with running_daemon([f"--port=unix:{path}", *flags]):
            for sent, there, flag in (
                (upgrade, "101 ", "--max_peer_websockets"),
                (watch, "200 OK", "--max_peer_subscriptions"),
            ):
                self.assertIn(there, self.begin(path, sent))
                told = self.begin(path, sent)
                for words in ("503 ", "Retry-After: 1", flag, f"uid:{os.getuid()}"):
                    self.assertIn(words, told)
            half = "PUT /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
            self.begin(path, half, answered=False)
            self.assertIn("--max_peer_requests", self.begin(path, half))
            self.assertIn("200 OK", self.ask(path, "GET /health"))

    def begin(self, path: str, data: str, answered: bool = True) -> str:
        """Send it on a connection that stays. :returns: the head of the answer, and a body that is short."""
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.settimeout(60)
        sock.connect(path)
        sock.sendall(data.encode())
        heard = b""
        while answered and (b"\r\n\r\n" not in heard or (b" 503 " in heard and not heard.endswith(b"}\n"))):
            part = sock.recv(65536)
            if not part:
                break
            heard += part
        return heard.decode("latin-1")

    @staticmethod
    def ask(path: str, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(path)
            sock.sendall(f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
            heard = b""
            while part := sock.recv(65536):
                heard += part
            return heard.decode("latin-1")


class CertificateTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The names in a client certificate have the roles that the file gives them."""
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        ca = authority(home)
        certificate, key = ca.issue("localhost")
        roles = home / "roles.toml"
        roles.write_text(
            '["san:uri:spiffe://test/reader"]\nroles = ["read"]\n["san:dns:localhost"]\nroles = ["call"]\n'
        )
        flags = [f"--tls_cert_file={certificate}", f"--tls_key_file={key}", f"--tls_client_ca_file={ca.ca_file}"]
        with running_daemon(["--address=0.0.0.0:0", *flags, f"--auth_roles={roles}"]) as daemon:
            for name, path, status in (
                ("reader", "/registry", 200),
                ("other", "/registry", 403),
                ("other", "/health", 200),
            ):
                context = ssl.create_default_context(cafile=ca.ca_file)
                context.load_cert_chain(*ca.issue(name, uris=(f"spiffe://test/{name}",)))
                connection = http.client.HTTPSConnection("localhost", daemon.port, timeout=60, context=context)
                self.addCleanup(connection.close)
                connection.request("GET", path)
                self.assertEqual(connection.getresponse().status, status, (name, path))
