"""The proxy's journey in one daemon with curl as its user: large bodies both ways, a chat and events that stay open
meanwhile, a node that is killed, and memory that stays what it was.

``MICROSIDECAR_JOURNEY_BYTES`` makes the bodies larger: 1 GB is what the documentation tells of.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from typing import Any

from sidecar.test.acceptance.test_proxy import PATIENCE, ProxyCase, connect
from sidecar.test.doubles.clients.blocking import WebSocket
from sidecar.test.doubles.programs.process import missing, not_installed
from sidecar.test.doubles.servers.httpnode import HttpNode, NodeConnection, NodeRequest, echo_websocket, zeros

SIZE = int(os.environ.get("MICROSIDECAR_JOURNEY_BYTES", str(64 * 1024 * 1024)))
#: How long a body takes at most, in seconds.
LONG = PATIENCE + SIZE / 1e6
#: What the daemon may have more after large bodies than after bodies of an eighth: allocators round.
GROWTH = 1.15


class Journey(ProxyCase):
    skip = not_installed() or missing("curl")
    flags = ("--max_body=64KiB",)

    def curl(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = ["curl", "-s", "-S", "--noproxy", "*", "--max-time", str(int(LONG)), *arguments]
        return subprocess.run(command, capture_output=True, timeout=LONG + PATIENCE)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.daemon.port}{path}"

    def upload(self, size: int, chunked: bool) -> None:
        file = self.mktemp()
        with open(file, "wb") as empty:
            empty.truncate(size)  # which takes no place
        length = ("-H", "Transfer-Encoding: chunked") if chunked else ()
        done = self.curl("-T", file, *length, self.url("/app/up"))
        self.assertEqual(done.returncode, 0, done.stderr)
        seen = self.node.seen[-1]
        self.assertEqual((seen.size, seen.digest), (size, digest(size)))

    def download(self, size: int) -> None:
        self.node.scripts["/app/down"] = zeros(size)
        done = self.curl("-o", os.devnull, "-w", "%{http_code} %{size_download}", self.url("/app/down"))
        self.assertEqual((done.returncode, done.stdout), (0, b"200 %d" % size), done.stderr)

    def bodies(self, size: int) -> int:
        """Bodies of a size both ways. :returns: the most memory that the daemon has had."""
        self.upload(size, False)
        self.upload(size, True)
        self.download(size)
        return self.memory()

    def test_journey(self) -> None:
        """Uploads, downloads, a chat, events, and a node killed in the middle; memory does not grow with the bodies."""
        go_on = threading.Event()

        def events(connection: NodeConnection, request: NodeRequest) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 0\n\n")
            go_on.wait(LONG)
            connection.send(b"data: 1\n\n")
            raise ConnectionError("that is all")

        talks = self.add_node("talk-1", "go.micro.srv.talk")
        talks.scripts.update({"/talk/chat": echo_websocket, "/talk/events": events})
        chat = WebSocket.open(connect, self.daemon.port, "/talk/chat")
        self.addCleanup(chat.close)
        heard = subprocess.Popen(
            ["curl", "-s", "-N", "--noproxy", "*", self.url("/talk/events")], stdout=subprocess.PIPE
        )
        self.addCleanup(heard.wait, PATIENCE)
        self.addCleanup(heard.terminate)
        assert heard.stdout is not None
        self.addCleanup(heard.stdout.close)
        self.addCleanup(go_on.set)
        self.assertEqual(heard.stdout.readline() + heard.stdout.readline(), b"data: 0\n\n")

        before = self.bodies(SIZE // 8)
        chat.send("still there?")
        self.assertEqual(chat.receive(PATIENCE), "still there?")
        after = self.bodies(SIZE)
        self.assertLess(after / before, GROWTH)

        self.kill_a_node()
        go_on.set()
        self.assertEqual(heard.stdout.read(), b"data: 1\n\n")
        chat.send("bye")
        self.assertEqual(chat.receive(PATIENCE), "bye")
        self.assertLess(self.memory() / before, GROWTH)

    def kill_a_node(self) -> None:
        """In the middle of an answer: curl sees that it is cut, and its next request finds the other node."""
        dying: HttpNode = self.node

        def half(connection: NodeConnection, request: NodeRequest) -> Any:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + bytes(1024 * 1024))
            dying.stop()
            raise ConnectionError("killed")

        dying.scripts["/app/half"] = half
        cut = self.curl("-o", os.devnull, self.url("/app/half"))
        self.assertIn(cut.returncode, (18, 56), cut.stderr)  # a part of the file alone; a connection that was reset
        self.node = self.add_node("app-2")
        for _ in range(5):
            self.upload(100_000, False)


def digest(size: int) -> str:
    """:returns: that of so many zeros."""
    counted, piece = hashlib.sha256(), bytes(1024 * 1024)
    for at in range(0, size, len(piece)):
        counted.update(piece[: size - at])
    return counted.hexdigest()
