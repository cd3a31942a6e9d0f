"""The proxy between programs that others made: nginx behind it, by TLS; curl and Chromium before it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from sidecar.test.acceptance.test_proxy import PATIENCE, ProxyCase
from sidecar.test.doubles.certificates import authority
from sidecar.test.doubles.programs.browser import Browser, no_browser
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.process import accepts, free_port, missing, not_installed, start
from sidecar.test.doubles.servers.httpnode import NodeConnection, NodeRequest, echo_websocket, raw

NGINX = """
daemon off; master_process off; pid {home}/pid; error_log stderr warn; events {{ }}
http {{
    access_log off; client_max_body_size 0; root {home}/www;
    client_body_temp_path {home}/1; proxy_temp_path {home}/2; fastcgi_temp_path {home}/3; uwsgi_temp_path {home}/4;
    scgi_temp_path {home}/5;
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {chain}; ssl_certificate_key {key};
        location /app/ {{ gzip on; gzip_types *; }}
        location /app/up/ {{ dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""
SIZE = 8 * 1024 * 1024


class BeforeNginx(ProxyCase):
    skip = not_installed() or missing("nginx", "curl")

    def start(self) -> Daemon:
        self.home = Path(self.mktemp()).absolute()
        (self.home / "www" / "app").mkdir(parents=True)
        signer, port = authority(self.home), free_port()
        chain, key = signer.issue("nginx")
        (self.home / "nginx.conf").write_text(NGINX.format(home=self.home, port=port, chain=chain, key=key))
        nginx = start("nginx", ["-c", str(self.home / "nginx.conf"), "-p", str(self.home)], lambda _: accepts(port))
        self.addCleanup(nginx.stop)
        self.port = port
        daemon = running_daemon(("--sidecar_handler=proxy", f"--rpc_tls_ca_file={signer.ca_file}"))
        self.addCleanup(daemon.stop)
        return daemon

    def setUp(self) -> None:
        self.daemon = self.start()
        self.register("nginx-1", self.port, secure="true")

    def curl(self, path: str, *arguments: str) -> bytes:
        command = ["curl", "-s", "-S", "--noproxy", "*", "--max-time", str(int(PATIENCE)), *arguments]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{self.daemon.port}{path}"], capture_output=True, timeout=2 * PATIENCE
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_files(self) -> None:
        """Whole, by ranges, compressed, by condition, and up again: each as nginx itself would answer."""
        content = os.urandom(SIZE // 2) + bytes(SIZE // 2)
        (self.home / "www" / "app" / "file").write_bytes(content)
        self.assertEqual(self.curl("/app/file"), content)
        self.assertEqual(self.curl("/app/file", "--compressed"), content)
        self.assertEqual(self.curl("/app/file", "-r", "10-19"), content[10:20])
        head = self.curl("/app/file", "-I").decode()
        self.assertIn(f"Content-Length: {SIZE}\r\n", head)
        (tag,) = [line[6:] for line in head.splitlines() if line.startswith("ETag: ")]
        self.assertIn(b" 304 ", self.curl("/app/file", "-i", "-H", f"If-None-Match: {tag}"))
        self.assertIn(b" 404 ", self.curl("/app/none", "-i"))
        source = self.home / "source"
        source.write_bytes(content)
        for name, how in (("a", ()), ("b", ("-H", "Transfer-Encoding: chunked"))):
            self.assertIn(b" 201 ", self.curl(f"/app/up/{name}", "-i", "-T", str(source), *how))
            self.assertEqual((self.home / "www" / "app" / "up" / name).read_bytes(), content)


PAGE = b"""<!doctype html><title>page</title><script>
const heard = window.heard = {events: [], chat: []}
new EventSource('/app/events').onmessage = (event) => heard.events.push(event.data)
const chat = new WebSocket(`ws://${location.host}/app/chat`)
chat.onopen = () => chat.send('hello')
chat.onmessage = (event) => heard.chat.push(event.data)
const body = new Blob([new Uint8Array(5000000)])
fetch('/app/up', {method: 'PUT', body}).then((answer) => answer.json()).then((told) => {
  heard.size = told.size; heard.digest = told.digest
})
</script>"""


class BehindChromium(ProxyCase):
    skip = not_installed() or no_browser()

    def test_page(self) -> None:
        """A page of an app hears events, chats over a WebSocket, and uploads, all through the proxy."""

        def events(connection: NodeConnection, request: NodeRequest) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
            connection.send(b"data: two\n\n")
            connection.line()

        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(PAGE)
        self.node.scripts.update({"/app/": raw(head, PAGE), "/app/events": events, "/app/chat": echo_websocket})
        browser = Browser.start()
        self.addCleanup(browser.stop)
        browser.open(f"http://127.0.0.1:{self.daemon.port}/app/")
        wanted = {
            "events": ["one", "two"],
            "chat": ["hello"],
            "size": 5_000_000,
            "digest": hashlib.sha256(bytes(5_000_000)).hexdigest(),
        }
        browser.until(lambda: browser.script("return window.heard") == wanted, "everything that the page waits for")
