"""A network namespace: a machine of its own for programs that multicast, so that they stay off the real network."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
import uuid
from pathlib import Path

from attrs import define

_CLONE_NEWNET = 0x40000000
#: Where ``ip netns exec`` finds files that stand in the place of those in ``/etc``.
_FILES = Path("/etc/netns")


def unavailable() -> str | None:
    """Why no namespace can be made here, for a test's ``skip``; None where one can."""
    if not hasattr(socket, "AF_NETLINK"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "not installed: ip (iproute2)"
    made = subprocess.run(["ip", "netns", "add", probe := f"micro-{uuid.uuid4().hex[:8]}"], capture_output=True)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.decode(errors='replace').strip()}"
    subprocess.run(["ip", "netns", "delete", probe], check=True)
    return None


@define(eq=False)
class Namespace:
    """A namespace with nothing but a loopback interface, which multicasts."""

    name: str

    @classmethod
    def make(cls) -> Namespace:
        """:raises subprocess.CalledProcessError: see :func:`unavailable`."""
        made = cls(f"micro-{uuid.uuid4().hex[:8]}")
        for command in (
            ["netns", "add", made.name],
            ["-n", made.name, "link", "set", "lo", "up", "multicast", "on"],
            ["-n", made.name, "route", "add", "224.0.0.0/4", "dev", "lo"],
        ):
            subprocess.run(["ip", *command], check=True)
        return made

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that runs in here."""
        return ("ip", "netns", "exec", self.name)

    def socket(
        self, kind: socket.SocketKind = socket.SOCK_STREAM, family: socket.AddressFamily = socket.AF_INET
    ) -> socket.socket:
        """A socket that lives in here, for this process. A thread enters, since a thread may be elsewhere alone."""
        made: list[socket.socket] = []

        def enter() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path("/run/netns", self.name).open() as there:
                if libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
                    return
            made.append(socket.socket(family, kind))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if not made:
            raise OSError(f"cannot enter the network namespace {self.name}")
        return made[0]

    def write(self, name: str, text: str) -> None:
        """A file that stands in the place of ``/etc/<name>`` for what is started with :attr:`prefix`."""
        place = _FILES / self.name
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], check=False)
        shutil.rmtree(_FILES / self.name, ignore_errors=True)
