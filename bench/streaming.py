"""A body of any size through the HTTP server and back, and the memory that it took.

``python -m bench.streaming [MEGABYTES]`` (1024) starts a server in a process of its own, which answers with what it is
sent, and prints its resident memory before, at its peak, and the rate.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from threading import Thread

_MIB = 1 << 20
_PIECE = bytes(1 << 16)


def serve() -> None:
    """Serve on any port, and print which."""
    from twisted.internet import reactor

    from sidecar.net.http.limits import HTTPLimits
    from sidecar.test.doubles.clients.http import Echo
    from sidecar.web.site import SidecarSite

    site = SidecarSite(Echo(), reactor, HTTPLimits())
    port: object = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[arg-type]
    print(port.getHost().port, flush=True)  # type: ignore[attr-defined]
    reactor.run()


def memory(pid: int, what: str) -> float:
    """:param what: ``VmRSS``, or ``VmHWM`` for the most there ever was. :returns: in MiB."""
    with open(f"/proc/{pid}/status") as status:
        found = re.search(rf"{what}:\s+(\d+)", status.read())
    return int(found[1]) / 1024 if found else 0.0


def echoed(port: int, size: int) -> int:
    """Send ``size`` bytes while the answer is read. :returns: how many bytes of a body came back."""
    with socket.create_connection(("127.0.0.1", port), 60) as client:

        def send() -> None:
            client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // len(_PIECE)):
                client.sendall(_PIECE)

        sender = Thread(target=send)
        sender.start()
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        counted = 0
        while part := client.recv(1 << 18):
            counted += len(part)
        sender.join()
    return counted


def main() -> int:
    if sys.argv[1:] == ["serve"]:
        serve()
        return 0
    size = int(sys.argv[1] if len(sys.argv) > 1 else 1024) * _MIB
    with subprocess.Popen([sys.executable, "-m", "bench.streaming", "serve"], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            echoed(port, len(_PIECE))
            before, started = memory(server.pid, "VmRSS"), time.monotonic()
            counted = echoed(port, size)
            took = time.monotonic() - started
            peak = memory(server.pid, "VmHWM")
        finally:
            server.terminate()
    rate = counted / _MIB / took
    print(f"{counted / _MIB:.0f} of {size / _MIB:.0f} MiB there and back in {took:.1f} s, {rate:.0f} MiB/s")
    print(f"resident: {before:.1f} MiB before, {peak:.1f} MiB at most")
    return 0 if counted == size else 1


if __name__ == "__main__":
    sys.exit(main())
