"""Whether the app beside the sidecar answers, and in which protocol."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from sidecar.cli.connecting import connect
from sidecar.cli.doctor import network
from sidecar.cli.doctor.backends import clock
from sidecar.cli.doctor.diagnosis import Diagnosis, fault, ok, warning
from sidecar.daemon.cmdline.settings import AppSettings

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
#: What answers for each protocol, in words.
_NAMES = {"grpc": "gRPC", "jsonrpc": "go-micro's JSON-RPC envelope", "http": "plain HTTP"}


def examine(app: AppSettings) -> Iterator[Diagnosis]:
    """:param app: as the flags name it."""
    host = app.host if app.host not in ("", "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104  # compared with, not bound
    subject = f"app {app.name}"
    where = f"{f'[{host}]' if ':' in host else host}:{app.port}"
    refused = network.connects(host, app.port)
    if refused:
        yield _not_there(subject, where, refused)
        return
    found = protocol(host, app.port)
    yield from _judged(subject, where, app.protocol, found)
    for check in app.checks:
        if check.kind == "http":
            yield from _check(subject, check.target)


def protocol(host: str, port: int) -> str:
    """:returns: ``grpc``, ``jsonrpc`` or ``http``; "" where it answers none of them."""
    call = json.dumps({"method": "Debug.Health", "params": [{}], "id": 1}).encode()
    headers = {"Content-Type": "application/json-rpc", "Micro-Endpoint": "Debug.Health", "Micro-Method": "Debug.Health"}
    with suppress(OSError):
        answer = network.get(host, port, method="POST", body=call, headers=headers)
        with suppress(ValueError):
            told = json.loads(answer.body)
            if answer.status == 200 and isinstance(told, dict) and {"result", "error"} & set(told) and "id" in told:
                return "jsonrpc"
        return "http"
    with suppress(OSError), connect(host, port, network.PATIENCE) as peer:
        peer.settimeout(network.PATIENCE)
        peer.sendall(_PREFACE)
        # The first frame of an HTTP/2 server is SETTINGS (type 4).
        if peer.recv(9)[3:4] == b"\x04":
            return "grpc"
    return ""


def _judged(subject: str, where: str, wanted: str, found: str) -> Iterator[Diagnosis]:
    if found == wanted:
        yield ok(subject, f"{where} answers, in {_NAMES[found]}")
    elif not found:
        fix = "start the app on this port, or name the right one by --server_address"
        yield fault(subject, f"{where} takes connections and answers neither HTTP nor gRPC", fix)
    elif found == "grpc":
        fix = "register it with metadata that says so: --server_metadata=protocol=grpc"
        yield warning(subject, f"{where} speaks gRPC, where the flags say {_NAMES[wanted]}", fix)
    elif found == "http":
        told = f"{where} speaks plain HTTP, not {_NAMES[wanted]}: go-micro's callers get no answer from it"
        yield fault(subject, told, "let the sidecar translate", "micro sidecar --server_protocol=http ...")
    else:
        told = f"{where} answers go-micro's envelope itself, and would be sent plain requests"
        yield fault(subject, told, "leave --server_protocol=http out", "micro sidecar --server_protocol=jsonrpc ...")


def _not_there(subject: str, where: str, refused: str) -> Diagnosis:
    """Nobody is where the app should be: name those who might be it."""
    others = [one for one in network.listeners() if one.pid not in (0, os.getpid()) and one.port != 0]
    users = [one for one in others if "sidecar" not in one.program and "micro " not in one.program]
    users.sort(key=lambda one: -network.started(one.pid))  # what was started last is the likeliest
    if users:
        fix = f"start the app there, or name where it is; these listen here: {', '.join(map(str, users[:8]))}"
        return fault(
            subject, f"{where}: {refused}", fix, f"micro sidecar --server_address=127.0.0.1:{users[0].port} ..."
        )
    return fault(subject, f"{where}: {refused}", "start the app, or name where it is by --server_address=HOST:PORT")


def _check(subject: str, url: str) -> Iterator[Diagnosis]:
    split = urlsplit(url)
    shown = f"{split.scheme}://{split.hostname}{f':{split.port}' if split.port else ''}{split.path}"
    if split.scheme != "http" or split.hostname is None:
        return
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    try:
        answer = network.get(split.hostname, split.port or 80, path)
    except OSError as error:
        fix = "serve the check there, or correct --healthcheck_url"
        yield fault(f"check of {subject}", f"GET {shown}: {network.why(error)}", fix)
        return
    if not 200 <= answer.status < 300:
        fix = "any 2xx means healthy: answer it, or correct --healthcheck_url"
        yield fault(f"check of {subject}", f"GET {shown} answered {answer.status}", fix)
    else:
        yield ok(f"check of {subject}", f"GET {shown} answered {answer.status}")
    if answer.skew is not None:
        yield clock(subject, answer.skew)
