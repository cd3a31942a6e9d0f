"""Whether the port of the HTTP API is free, or who has it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

from sidecar.cli.doctor import network
from sidecar.cli.doctor.diagnosis import Diagnosis, fault, ok
from sidecar.daemon.cmdline.settings import EndpointPort, ListenSettings


def examine(listen: ListenSettings) -> Iterator[Diagnosis]:
    """:param listen: where the sidecar is to listen."""
    where = listen.where
    if isinstance(where, EndpointPort):
        yield ok("port", f"{where.description} is opened by Twisted at start; only a start shows whether it can be")
        return
    shown = f"{f'[{where.host}]' if ':' in where.host else where.host or '*'}:{where.port}"
    host = where.host or "127.0.0.1"
    try:
        family = socket.getaddrinfo(host, where.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(family[4])
            probe.listen(1)
    except OSError as error:
        yield _taken(host, where.port, shown, error)
    else:
        yield ok("port", f"{shown} is free")


def _taken(host: str, port: int, shown: str, error: OSError) -> Diagnosis:
    if isinstance(error, socket.gaierror):
        return fault("port", f"{host} is not a known host", "give an address of this machine by --address")
    if error.errno == 98:  # EADDRINUSE, on the only kernel that has /proc to look at
        other = next((str(one) for one in network.listeners() if one.port == port), "somebody")
        if _is_sidecar(host, port):
            return ok("port", f"{shown} is served by a microsidecar that runs: {other}")
        fix = "stop it, or choose another port with --port"
        return fault("port", f"{shown} is taken by {other}", fix, f"micro sidecar --port={port + 1}")
    if error.errno == 13:
        return fault("port", f"no permission for {shown}", "choose a port above 1023", "micro sidecar --port=8081")
    return fault("port", f"{shown} cannot be listened on: {network.why(error)}", "see --address")


def _is_sidecar(host: str, port: int) -> bool:
    try:
        return json.loads(network.get(host, port).body).get("name") == "microsidecar"
    except (OSError, ValueError, AttributeError):
        return False
