"""Connects within a time that counts the looking up of the name too, which nothing else of a blocking program ends."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any


def connect(
    host: str,
    port: int,
    timeout: float,
    getaddrinfo: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo,
) -> socket.socket:
    """As ``socket.create_connection``.

    :param timeout: seconds in all; of several addresses each has its share of what is left.
    :raises TimeoutError: they passed. :raises OSError: the name is not known, or nobody listens.
    """
    deadline = time.monotonic() + timeout
    found: list[Sequence[tuple[Any, ...]] | BaseException] = []

    def look_up() -> None:
        try:
            found.append(getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    # The end of the process does not wait for this thread: a look-up that nobody answers may take minutes.
    thread = threading.Thread(target=look_up, name="resolver", daemon=True)
    thread.start()
    thread.join(timeout)
    if not found:
        raise TimeoutError(f"the name {host} was not found within {timeout:g} s")
    answers = found[0]
    if isinstance(answers, BaseException):
        raise answers if isinstance(answers, OSError) else OSError(f"{host!r} cannot be a name")
    failed: OSError = OSError(f"the name {host} has no address")
    for index, (family, kind, protocol, _, where) in enumerate(answers):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max((deadline - time.monotonic()) / (len(answers) - index), 0.001))
            sock.connect(where)
        except OSError as error:
            sock.close()
            failed = error
        else:
            sock.settimeout(timeout)
            return sock
    raise failed


class HttpConnection(http.client.HTTPConnection):
    """Over :func:`connect`."""

    def connect(self) -> None:
        self.sock = connect(self.host, self.port, self.timeout or 60.0)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class HttpsConnection(http.client.HTTPSConnection, HttpConnection):
    """The same with TLS: the standard library's connects by the next class, and wraps."""
