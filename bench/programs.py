"""Starts the sidecar and its peers on loopback, knows what they cost, and ends what it started."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Missing(Exception):
    """A peer that is not installed here: its rows are left out, and say so."""


def find(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """A running process and the children it made."""

    def __init__(self, name: str, command: list[str], port: int, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.port = port
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env={**os.environ, **(env or {})}
        )
        self._await()

    def _await(self) -> None:
        while time.monotonic() - self.started < 30:
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        self.log.seek(0)
        raise RuntimeError(f"{self.name} did not start: {self.log.read().decode(errors='replace')[-2000:]}")

    def pids(self) -> list[int]:
        """The process and its children (nginx's worker is one)."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [self.process.pid, *(int(pid) for pid in children.read_text().split())]

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        total = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def ran(self) -> float:
        """Seconds that the process itself has run so far, to the nanosecond where the kernel counts so."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9

    def memory(self) -> int:
        """Bytes resident."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in self.pids())

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def sidecar(*flags: str, env: dict[str, str] | None = None, micro: str = "") -> Program:
    """The sidecar as a user starts it, with the default settings but for ``flags``.

    :param micro: the command of another build, "" for that of the environment that the bench runs in.
    """
    port = free_port()
    command = [micro or str(Path(sys.executable).with_name("micro")), "sidecar", f"--port={port}", *flags]
    return Program("microsidecar", command, port, {"XDG_STATE_HOME": _state_home(), **(env or {})})


@cache
def _state_home() -> str:
    """A directory for what sidecars keep, removed at the end."""
    home = tempfile.mkdtemp(prefix="bench-state-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


def stock(backend: int) -> Program:
    """What stock Twisted does: ``Site`` in front, treq behind."""
    port = free_port()
    return Program("stock twisted", [sys.executable, "-m", "bench.stock", str(port), str(backend)], port)


_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 100000000; client_max_body_size 8m; client_body_buffer_size 128k;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {body}
}}
"""


def _nginx(name: str, body: str, port: int) -> Program:
    folder = tempfile.mkdtemp(prefix="bench-nginx-")
    config = Path(folder, "nginx.conf")
    config.write_text(_NGINX.format(folder=folder, body=body))
    return Program(name, [find("nginx"), "-c", str(config), "-p", folder], port)


def nginx_backend() -> Program:
    """A backend as cheap as they come: nginx answering one small JSON-RPC envelope to everything."""
    port = free_port()
    answer = r'{"id":"1","result":{"msg":"Hello John"},"error":null}'
    # Reading the body before answering keeps the connection alive, as an app would.
    body = (
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ default_type application/json; "
        f"return 200 '{answer}'; }} }}"
    )
    return _nginx("nginx (backend)", body, port)


def nginx_page(size: int) -> Program:
    """A backend that answers so many bytes to everything."""
    port = free_port()
    body = (
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ default_type text/plain; "
        f"return 200 '{'x' * size}'; }} }}"
    )
    return _nginx("nginx (backend)", body, port)


def http_server() -> Program:
    """The README's app: Python's ``http.server``, which writes an answer in two pieces."""
    port = free_port()
    return Program("http.server", [sys.executable, "-m", "bench.twowrites", str(port)], port)


def nginx_static(answer: bytes) -> Program:
    """nginx answering ``answer`` to everything, without a backend."""
    port = free_port()
    text = answer.decode().replace("'", r"\'")
    return _nginx(
        "nginx (static)",
        f"server {{ listen 127.0.0.1:{port} backlog=4096; "
        f"location / {{ default_type application/json; return 200 '{text}'; }} }}",
        port,
    )


def nginx_proxy(backend: int) -> Program:
    """nginx with one worker, proxying to ``backend`` over kept connections."""
    port = free_port()
    body = (
        f"upstream app {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 100000000; }} "
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://app; "
        'proxy_http_version 1.1; proxy_set_header Connection ""; } }'
    )
    return _nginx("nginx", body, port)


def haproxy(backend: int) -> Program:
    port = free_port()
    config = Path(tempfile.mkdtemp(prefix="bench-haproxy-"), "haproxy.cfg")
    config.write_text(
        "global\n  nbthread 1\n  maxconn 8192\n"
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        "  http-reuse always\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\nbackend b\n  server s 127.0.0.1:{backend}\n"
    )
    return Program("haproxy", [find("haproxy"), "-db", "-f", str(config)], port)


class Nats(Program):
    """nats-server with its WebSocket port open. :ivar websocket: that port."""

    def __init__(self) -> None:
        port, self.websocket = free_port(), free_port()
        config = Path(tempfile.mkdtemp(prefix="bench-nats-"), "nats.conf")
        websocket = f'websocket {{ host: "127.0.0.1", port: {self.websocket}, no_tls: true }}'
        config.write_text(f'host: "127.0.0.1"\nport: {port}\n{websocket}\n')
        super().__init__("nats-server", [find("nats-server"), "-c", str(config)], port)


def go_service() -> Program:
    """The real go-micro v5.30.0 service of ``interop/``, with no registry of its own."""
    folder = os.environ.get("MICROSIDECAR_INTEROP_BIN") or str(Path(__file__).parent.parent / "interop" / "bin")
    binary = Path(folder, "say-v5.30.0")
    if not binary.exists():
        raise Missing("interop/bin/say-v5.30.0 is not built: run interop/build")
    port = free_port()
    command = [str(binary), "serve", "--registry=memory", f"--address=127.0.0.1:{port}"]
    return Program("go-micro v5.30.0", command, port)
