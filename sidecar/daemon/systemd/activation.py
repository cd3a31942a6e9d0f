"""The sockets that systemd opened before it started the daemon (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

#: The first descriptor that is handed over.
FIRST = 3
#: What our own ``.socket`` unit calls the port of the HTTP API.
API = "api"


def passed(environ: Mapping[str, str], pid: int | None = None) -> dict[str, list[int]]:
    """The descriptors that were handed over, by the name that the ``.socket`` unit gives them.

    :param pid: this process, for tests. :returns: empty where systemd handed over none, or to somebody else.
    """
    count, whose = environ.get("LISTEN_FDS", ""), environ.get("LISTEN_PID", "")
    if not (count.isascii() and count.isdigit()) or whose != str(os.getpid() if pid is None else pid):
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[int]] = {}
    for index in range(min(int(count), 64)):
        found.setdefault(names[index] if index < len(names) else "", []).append(FIRST + index)
    return found


def api_socket(environ: Mapping[str, str], pid: int | None = None) -> socket.socket | None:
    """The listening socket for the HTTP API: the one called ``api``, or the only one there is.

    :returns: a socket of its own over the descriptor; None where there is no such one.
    """
    found = passed(environ, pid)
    descriptors = found.get(API) or (next(iter(found.values())) if len(found) == 1 else [])
    if len(descriptors) != 1:
        return None
    given = socket.socket(fileno=os.dup(descriptors[0]))
    if given.type != socket.SOCK_STREAM or not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        given.close()
        return None
    given.setblocking(False)
    return given
