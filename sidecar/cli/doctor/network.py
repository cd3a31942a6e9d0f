"""What the doctor asks of the network and of the kernel's tables: who listens, who answers, what time it is there."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from sidecar.cli.connecting import HttpConnection, HttpsConnection, connect

#: Seconds that any one question may take.
PATIENCE = 3.0
#: Seconds by which two clocks may differ without anybody noticing.
TOLERANCE = 5.0
_LISTEN = "0A"


@dataclass(frozen=True)
class Answered:
    """An HTTP answer, as far as the doctor looks. :ivar skew: seconds that the other's clock is ahead, None unknown."""

    status: int
    body: bytes
    skew: float | None
    server: str = ""


def get(
    host: str,
    port: int,
    path: str = "/",
    *,
    tls: ssl.SSLContext | None = None,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answered:
    """One HTTP request. :raises OSError: it was not answered; with the reason."""
    connection = (
        HttpsConnection(host, port, timeout=PATIENCE, context=tls)
        if tls is not None
        else HttpConnection(host, port, timeout=PATIENCE)
    )
    try:
        connection.request(method, path, body, {"User-Agent": "micro-doctor", **(headers or {})})
        answer = connection.getresponse()
        return Answered(
            answer.status, answer.read(262144), skew(answer.getheader("Date")), answer.getheader("Server", "")
        )
    except http.client.HTTPException as error:
        raise OSError(f"it does not speak HTTP ({type(error).__name__})") from None
    finally:
        connection.close()


def skew(date: str | None) -> float | None:
    """:param date: an HTTP date. :returns: seconds that it is ahead of our clock, None where it is none."""
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return None


def why(error: OSError) -> str:
    """:returns: what went wrong, in a few words."""
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "the name is not known"
    return (error.strerror or str(error) or type(error).__name__).lower()


def connects(host: str, port: int) -> str:
    """:returns: "" where something listens there, else why not."""
    try:
        with connect(host, port, PATIENCE):
            return ""
    except OSError as error:
        return why(error)


@dataclass(frozen=True)
class Socket:
    """A listening TCP socket of this machine. :ivar pid: 0 where it is somebody's whom we may not look at."""

    host: str
    port: int
    pid: int
    program: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.program or 'another user'}{f', process {self.pid}' if self.pid else ''})"


def listeners() -> list[Socket]:
    """:returns: who listens on TCP on this machine; empty where the kernel does not tell (no /proc)."""
    inodes = {inode: place for table in ("tcp", "tcp6") for inode, place in _listening(Path("/proc/net", table))}
    owners: dict[str, int] = {}
    for directory in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for link in directory.iterdir():
                with suppress(OSError):
                    target = os.readlink(link)
                    if target.startswith("socket:[") and target[8:-1] in inodes:
                        owners.setdefault(target[8:-1], int(directory.parent.name))
    found = []
    for inode, (host, port) in inodes.items():
        pid = owners.get(inode, 0)
        found.append(Socket(host, port, pid, _program(pid)))
    return sorted(found, key=lambda one: (one.port, one.host))


def started(pid: int) -> int:
    """:returns: when a process was started, in the kernel's ticks since boot; 0 where it is gone.

    Not its number: those begin anew at some size.
    """
    try:
        # After the program's name, which may hold anything.
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _listening(table: Path) -> Iterator[tuple[str, tuple[str, int]]]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if fields[3] == _LISTEN:
            host, port = fields[1].split(":")
            yield fields[9], (_address(host), int(port, 16))


def _address(text: str) -> str:
    """:param text: an address as the kernel prints it: words of 32 bits, each in this machine's byte order."""
    words = [int(text[start : start + 8], 16).to_bytes(4, "little") for start in range(0, len(text), 8)]
    packed = b"".join(words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _program(pid: int) -> str:
    if not pid:
        return ""
    try:
        words = Path("/proc", str(pid), "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    return " ".join(word for word in words if word)[:60]
