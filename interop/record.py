"""Records what real go-micro services and clients put on the wire, as test vectors.

    python interop/record.py [GENERATION...]        needs interop/build's programs, etcd, nats-server and root

One file a generation in ``sidecar/test/vectors/interop``. Bytes are written as Latin-1 text.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack, closing
from pathlib import Path

from sidecar.test.doubles.programs import say
from sidecar.test.doubles.programs.namespace import Namespace
from sidecar.test.doubles.programs.process import free_port, start_consul, start_etcd, start_nats

VECTORS = Path(__file__).parent.parent / "sidecar/test/vectors/interop"

CALLS = {
    "hello": ("Say.Hello", '{"name":"John"}'),
    "fault": ("Say.Fail", '{"id":"srv.say","code":409,"detail":"bad John"}'),
    "plain error": ("Say.Fail", '{"detail":"just text"}'),
    "unknown method": ("Say.Nope", "{}"),
    "unknown type": ("Nope.Hello", "{}"),
    "wrong type": ("Say.Hello", '{"name":7}'),
    "ill-formed method": ("Say", "{}"),
    "big number": ("Say.Big", '{"id":9223372036854775807}'),
    "null request": ("Say.Hello", "null"),
    "metadata": ("Say.Meta", "{}"),
}


def text(data: bytes) -> str:
    return data.decode("latin-1")


def universal(method: str, content_type: str, body: bytes) -> bytes:
    """The request that every generation's mucp server understands."""
    lines = [
        "POST / HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", f"Content-Type: {content_type}",
        f"Accept: {content_type}", "Timeout: 5000000000", "X-Foo: bar",
    ]
    for prefix in ("", "X-"):
        lines += [f"{prefix}Micro-Service: srv.say", f"{prefix}Micro-Method: {method}",
                  f"{prefix}Micro-Endpoint: {method}", f"{prefix}Micro-Id: 1-1"]
    return "\r\n".join([*lines, "Micro-Stream: 1-1", "", ""]).encode() + body


def netstring(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def read_message(sock: socket.socket) -> bytes:
    """One HTTP message with a Content-Length; what there is when it ends early."""
    data = b""
    while True:
        head, found, rest = data.partition(b"\r\n\r\n")
        if found:
            length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n")
                           if line.lower().startswith(b"content-length:")), 0)
            if len(rest) >= length:
                return data
        try:
            chunk = sock.recv(65536)
        except TimeoutError:
            return data
        if not chunk:
            return data
        data += chunk


def exchange(address: str, request: bytes) -> dict[str, str]:
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=2) as sock:
        sock.sendall(request)
        return {"request": text(request), "response": text(read_message(sock))}


def our_calls(address: str) -> dict[str, object]:
    """What the service answers to the universal request, in JSON-RPC and in proto-rpc."""
    out: dict[str, object] = {}
    for name, (method, params) in CALLS.items():
        body = json.dumps({"method": method, "params": [json.loads(params)], "id": 7}).encode()
        out[name] = exchange(address, universal(method, "application/json-rpc", body))
    for name, method, payload in (
        ("protobuf", "Say.Text", b"\x0a\x04John"),
        ("protobuf unknown method", "Say.Nope", b""),
    ):
        head = b"\x0a" + bytes([len(method)]) + method.encode() + b"\x11" + (7).to_bytes(8, "little")
        body = netstring(head) + netstring(payload)
        out[name] = exchange(address, universal(method, "application/proto-rpc", body))
    out["unsupported type"] = exchange(address, universal("Say.Hello", "text/html", b"{}"))
    return out


class Tap:
    """A TCP proxy that keeps what passes."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self.passed: list[dict[str, str]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            outer = socket.create_connection(self._target)
            threading.Thread(target=self._copy, args=(inner, outer, "client"), daemon=True).start()
            threading.Thread(target=self._copy, args=(outer, inner, "server"), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, who: str) -> None:
        try:
            while chunk := source.recv(65536):
                with self._lock:
                    if self.passed and self.passed[-1]["from"] == who:
                        self.passed[-1]["bytes"] += text(chunk)
                    else:
                        self.passed.append({"from": who, "bytes": text(chunk)})
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side is gone, which is how such talks end

    def close(self) -> None:
        self._listener.close()


def go_talks(generation: str, address: str, flags: tuple[str, ...]) -> dict[str, object]:
    """What the generation's own client and service say to one another, when the client is given an address."""
    talks: dict[str, object] = {}
    stream = ('{"name":"John","count":2}', '{"name":"Ann","count":1,"last":true}')
    for name, words in {
        **{name: ("call", "srv.say", *CALLS[name]) for name in ("hello", "fault", "unknown method", "metadata")},
        "protobuf": ("call", "--text", "--content-type", "application/protobuf", "srv.say", "Say.Text", "John"),
        "stream": ("stream", "srv.say", "Say.Stream", *stream),
        "stream ended by the caller's fault": ("stream", "srv.say", "Say.Stream", '{"fault":{"code":400,"detail":"no"}}'),
    }.items():
        with closing(Tap(address)) as tap:
            heard = say.run(generation, words[0], "--to", tap.address, "--metadata", "X-Foo=bar", *flags, *words[1:])
            talks[name] = {"talk": tap.passed, "events": heard}
    return talks


def listening(answers: bytes) -> tuple[str, list[str], socket.socket]:
    """A server that keeps each request and answers the same to all."""
    listener = socket.create_server(("127.0.0.1", 0))
    got: list[str] = []

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(5)
            with sock:
                while data := read_message(sock):
                    got.append(text(data))
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answers), answers))

    threading.Thread(target=serve, daemon=True).start()
    return "127.0.0.1:%d" % listener.getsockname()[1], got, listener


def http(method: str, url: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=5) as answer:
        return json.loads(answer.read() or b"null")


def b64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def etcd_put(port: int, service: dict[str, object]) -> None:
    key = f"/micro/registry/{service['name']}/{service['nodes'][0]['id']}"
    http("POST", f"http://127.0.0.1:{port}/v3/kv/put", {"key": b64(key), "value": b64(json.dumps(service))})


def etcd_all(port: int) -> dict[str, str]:
    found = http("POST", f"http://127.0.0.1:{port}/v3/kv/range", {"key": b64("/"), "range_end": b64("0")})
    plain = lambda value: base64.b64decode(value).decode()  # noqa: E731
    return {plain(kv["key"]): plain(kv["value"]) for kv in found.get("kvs", [])}


def to_us(generation: str, etcd: int, flags: tuple[str, ...]) -> dict[str, object]:
    """What the generation's client sends to an app that is registered without a protocol, as ours are."""
    out: dict[str, object] = {}
    for name, words in {
        "json": ("--metadata", "X-Foo=bar", "our.app", "Say.Hello", '{"name":"John"}'),
        "protobuf": ("--text", "--content-type", "application/protobuf", "our.app", "Say.Text", "John"),
    }.items():
        address, got, listener = listening(b'{"id":"0","result":{"msg":"Hello John"},"error":null}')
        etcd_put(etcd, {"name": "our.app", "version": "", "nodes": [{"id": "our.app-1", "address": address}]})
        with listener:
            heard = say.run(generation, "call", "--registry", "etcd", "--registry-address", f"127.0.0.1:{etcd}",
                            *flags, *words)
        out[name] = {"requests": got, "events": heard}
    return out


def http_messages(generation: str, etcd: int, flags: tuple[str, ...]) -> object:
    """What the generation's HTTP broker posts to a subscriber."""
    address, got, listener = listening(b"")
    service = "go.micro.http.broker" if generation == "v1.18.0" else "micro.http.broker"
    node = {"id": "news-1", "address": address, "metadata": {"broker": "http", "topic": "news", "secure": "false"}}
    etcd_put(etcd, {"name": service, "version": "ff.http.broadcast", "nodes": [node]})
    with listener:
        say.run(generation, "publish", "--registry", "etcd", "--registry-address", f"127.0.0.1:{etcd}",
                "--metadata", "X-Foo=bar", *flags, "news", '{"a":1}')
        say.run(generation, "publish", "--raw", "--registry", "etcd", "--registry-address", f"127.0.0.1:{etcd}",
                *flags, "news", '{"a":2}')
    return got


class Nats:
    """A listener on all subjects."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=0.3)
        self._sock.sendall(b'CONNECT {"verbose":false}\r\nSUB > 1\r\nPING\r\n')
        self._data = b""
        self.heard()

    def ask(self, subject: str, body: object) -> None:
        data = json.dumps(body).encode()
        self._sock.sendall(b"PUB %b inbox.record %d\r\n%b\r\n" % (subject.encode(), len(data), data))

    def heard(self) -> list[dict[str, str]]:
        try:
            while chunk := self._sock.recv(65536):
                self._data += chunk
        except TimeoutError:
            pass  # all that there is
        out, data = [], self._data
        while data:
            line, _, data = data.partition(b"\r\n")
            if line.startswith(b"MSG "):
                subject, *_, length = line.decode().split()[1:]
                out.append({"subject": subject, "payload": text(data[: int(length)])})
                data = data[int(length) + 2 :]
        self._data = b""
        return out

    def close(self) -> None:
        self._sock.close()


def registered(generation: str, flags: tuple[str, ...]) -> dict[str, object]:
    """What a service and a subscriber with a queue leave in each registry."""
    out: dict[str, object] = {}
    for registry, start in (("consul", start_consul), ("etcd", start_etcd), ("nats", start_nats)):
        port = free_port()
        with ExitStack() as stack:
            stack.callback(start(port).stop)
            where = ("--registry", registry, "--registry-address", f"127.0.0.1:{port}", *flags)
            nats = stack.enter_context(closing(Nats(port))) if registry == "nats" else None
            service = say.running(generation, "serve", "--metadata", "zone=a", *where)
            listener = say.running(generation, "subscribe", "--raw", *where, "news", "q1")
            time.sleep(0.3)
            if registry == "consul":
                names = http("GET", f"http://127.0.0.1:{port}/v1/catalog/services")
                out[registry] = {
                    name: http("GET", f"http://127.0.0.1:{port}/v1/health/service/{urllib.parse.quote(name)}")
                    for name in sorted(names) if name != "consul"
                }
            elif registry == "etcd":
                out[registry] = etcd_all(port)
            else:
                prefix = "micro.nats" if generation == "v5.30.0" else "micro.registry.nats"
                announced = nats.heard()
                nats.ask(f"{prefix}.query", {"Action": "get", "Service": {"name": "srv.say"}})
                got = nats.heard()
                nats.ask(f"{prefix}.query", {"Action": "list", "Service": None})
                listed = nats.heard()
                service.stop()
                out[registry] = {"announced": announced, "get": got, "list": listed, "left": nats.heard()}
            listener.stop()
            service.stop()
    return out


def multicast(generation: str, flags: tuple[str, ...]) -> list[dict[str, str]]:
    """Every mDNS packet from the start of a service to its end, a lookup by its own client between."""
    space = Namespace.make()
    ear = space.socket(socket.SOCK_DGRAM)
    packets: list[dict[str, str]] = []
    try:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                       socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1"))
        ear.bind(("224.0.0.251", 5353))
        # What is answered comes back to the port that asked: a second ear, and questions of our own.
        mouth = space.socket(socket.SOCK_DGRAM)
        mouth.bind(("127.0.0.1", 0))
        for sock in (ear, mouth):
            sock.setblocking(False)

        def drain(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for how, sock in (("multicast", ear), ("unicast", mouth)):
                    try:
                        while True:
                            packets.append({"came by": how, "packet": sock.recv(65536).hex()})
                    except BlockingIOError:
                        pass  # nothing more for now
                time.sleep(0.01)

        service = say.running(generation, "serve", "--registry", "mdns", "--metadata", "zone=a", *flags, prefix=space.prefix)
        drain(2.5)
        say.run(generation, "call", "--registry", "mdns", *flags, "srv.say", "Say.Hello", "{}", prefix=space.prefix)
        for name in (b"\x03srv\x03say\x05micro\x00", b"\x09_services\x05micro\x00"):
            question = bytes.fromhex("000000000001000000000000") + name + bytes.fromhex("000c0001")
            mouth.sendto(question, ("224.0.0.251", 5353))
            drain(0.5)
        service.stop()
        drain(0.5)
        mouth.close()
    finally:
        ear.close()
        space.remove()
    return packets


def record(generation: str, protocol: str) -> dict[str, object]:
    flags = ("--protocol", protocol)
    with ExitStack() as stack:
        service = say.running(generation, "serve", *flags)
        stack.callback(service.stop)
        address = service.ready["address"]
        out: dict[str, object] = {
            "recorded by": "python interop/record.py", "generation": generation, "protocol": protocol,
            "our calls": our_calls(address) if protocol == "mucp" else {},
            "its own client and service": go_talks(generation, address, flags),
        }
        etcd, nats = free_port(), free_port()
        stack.callback(start_etcd(etcd).stop)
        stack.callback(start_nats(nats).stop)
        if protocol == "mucp":
            out["its client and our app"] = to_us(generation, etcd, flags)
        out["messages over http"] = http_messages(generation, etcd, flags)
        ear = stack.enter_context(closing(Nats(nats)))
        over = ("--broker", "nats", "--broker-address", f"127.0.0.1:{nats}", *flags)
        say.run(generation, "publish", "--metadata", "X-Foo=bar", *over, "news", '{"a":1}')
        say.run(generation, "publish", "--text", "--content-type", "application/protobuf", *over, "news", "John")
        say.run(generation, "publish", "--raw", *over, "news", '{"a":2}')
        out["messages over nats"] = ear.heard()
    out["registries"] = registered(generation, flags)
    out["mdns packets"] = multicast(generation, flags)
    return out


def main(generations: list[str]) -> None:
    VECTORS.mkdir(parents=True, exist_ok=True)
    for generation in generations or say.GENERATIONS:
        for protocol in ("mucp", "grpc") if generation == "v2.9.1" else ("mucp",):
            name = f"{generation}-{protocol}.json" if generation == "v2.9.1" else f"{generation}.json"
            recorded = record(generation, protocol)
            (VECTORS / name).write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
            print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
