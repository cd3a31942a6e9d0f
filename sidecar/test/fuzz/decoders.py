"""Targets: functions of bytes. What a decoder may raise is what it says; anything else is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from sidecar.errors import SidecarError
from sidecar.wire import durations, headers, messages, plainhttp, rawjson, rpc, services, sizes
from sidecar.wire.broker import http as httpbroker
from sidecar.wire.broker import natsjs
from sidecar.wire.dns import mdns, packet
from sidecar.wire.mucp import jsonrpc, protorpc, server
from sidecar.wire.registry import consul, etcd, nats
from sidecar.wire.tracing import traceparent
from sidecar.wire.ws import frames

#: A service as it stands in a registry.
RECORD: Final = (
    b'{"name":"foo","version":"1.0","metadata":null,"endpoints":[{"name":"Say.Hello","request":{"name":"Request",'
    b'"type":"Request","values":[{"name":"name","type":"string","values":null}]},"response":null,"metadata":{"stream":'
    b'"true"}}],"nodes":[{"id":"foo-1","address":"127.0.0.1:9090","port":0,"metadata":{"protocol":"mucp"}}]}'
)


@frozen
class Target:
    """One thing to be tried. :ivar run: takes the bytes; raises where something is wrong. :ivar seeds: known inputs."""

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


def _raises(decode: Callable[[bytes], object], more: type[Exception] = SidecarError) -> Callable[[bytes], object]:
    """:returns: ``decode``, whose own errors are no news."""

    def run(data: bytes) -> object:
        try:
            return decode(data)
        except (SidecarError, more):
            return None

    return run


def _no_header(name: bytes) -> None:
    return None


def _call(content_type: bytes) -> Callable[[bytes], object]:
    return lambda data: rpc.read(data, {b"content-type": content_type})


def _query(data: bytes) -> object:
    return rpc.read(b'{"x":1}', {b"content-type": b"application/json"}, {}, data)


def _incoming(data: bytes) -> object:
    kind, _, body = data.partition(b"\n")
    fields = {"Content-Type": kind.decode("latin-1"), "Micro-Method": "Say.Hello", "Micro-Service": "foo"}
    return server.decode(fields, body)


def _json(data: bytes) -> None:
    """What is cut in C and by hand is what Python's own reader finds."""
    try:
        found = rawjson.members(data)
    except ValueError:
        return
    whole = json.loads(data.decode("utf-8").lstrip("\ufeff"), strict=False)
    for name, value in found.items():
        same = json.loads(value, strict=False)
        if name not in whole or (whole[name] != same and same == same):
            raise AssertionError(f"{name}: {same!r} is not {whole.get(name)!r}")


def _dns(data: bytes) -> object:
    return list(mdns.read_nodes(packet.decode(data)))


def _frames(data: bytes) -> None:
    """Frames are the same however they come."""
    whole, rest, _ = frames.cut(data, 1 << 16)
    first, held, _ = frames.cut(data[: len(data) // 2], 1 << 16)
    then, left, missing = frames.cut(held + data[len(data) // 2 :], 1 << 16)
    if missing >= 0 and ([*first, *then], left) != (whole, rest):
        raise AssertionError("two pieces make other frames than one")


def _headers(data: bytes) -> None:
    pairs = [tuple(line.split(b":", 1)) for line in data.split(b"\n") if b":" in line]
    found, _ = headers.sort((name, value.strip()) for name, value in pairs)
    block = headers.block(found)
    if b"\n" in block.replace(b"\r\n", b"") or b"\r\n\r\n" in block:
        raise AssertionError("a header line that is more than one")


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", "replace"))


TARGETS: Final[Mapping[str, Target]] = {
    "call-json": Target(
        _raises(_call(b"application/json")),
        (
            b'{"service":"a","method":"B.C","request":{"x":1},"address":"a:1","timeout":"1s"}',
            b'\xef\xbb\xbf{"request":1}',
        ),
    ),
    "call-form": Target(
        _raises(_call(b"application/x-www-form-urlencoded")), (b"service=a&method=B.C&request=%7B%22x%22%3A1%7D",)
    ),
    "call-protobuf": Target(_raises(_call(b"application/protobuf")), (b"\x0a\x04John",)),
    "call-query": Target(_raises(_query), (b"service=a&method=B.C&address=a%3A1", b"service=%ff&method=")),
    "registration": Target(
        _raises(lambda data: services.decode(data, "register", lambda name: f"{name}-1")),
        (RECORD, b'{"Name":"a","Nodes":[]}'),
    ),
    "record": Target(_raises(lambda data: services.decode_record(data, lambda *_: None)), (RECORD,)),
    "json": Target(_json, (RECORD, b'{"a":"\\ud83d\\ude00","b":1e400,"c":[[]],"a":2}', b"{}")),
    "answer-json": Target(
        _raises(lambda data: jsonrpc.result(data, b"1", _no_header)),
        (b'{"id":1,"result":{"msg":"x"},"error":null}', b'{"id":1,"error":"{\\"code\\":404}"}'),
    ),
    "answer-protobuf": Target(
        _raises(lambda data: protorpc.result(data, _no_header)), (b"\x00\x00\x00\x02\x10\x01\x00\x00\x00\x00",)
    ),
    "answer-http": Target(
        _raises(lambda data: plainhttp.answer("foo", 200 + len(data) % 400, "application/json", data)),
        (b'{"a":1}', b"x"),
    ),
    "incoming": Target(
        _raises(_incoming, server.Unreadable),
        (
            b'application/json-rpc\n{"method":"Say.Hello","params":[{"name":"John"}],"id":1}',
            b"application/proto-rpc\n\x00\x00\x00\x02\x10\x01\x00\x00\x00\x00",
            b'application/json\n{"name":"John"}',
        ),
    ),
    "message": Target(
        _raises(lambda data: messages.decode_any(data, "news")),
        (b'{"Header":{"a":"b"},"Body":"aGVsbG8="}', b'{"orderId":42}'),
    ),
    "message-http": Target(_raises(httpbroker.decode), (b'{"Header":{"Micro-Topic":"news"},"Body":"aGVsbG8="}',)),
    "message-natsjs": Target(
        _raises(lambda data: natsjs.decode(data, "news")), (b'{"ID":"1","Topic":"news","Payload":"aGk="}',)
    ),
    "dns": Target(_raises(_dns), (mdns.question("foo.micro"),)),
    "dns-text": Target(_raises(lambda data: mdns.decode_text(data, lambda *_: None)), (b"78da",)),
    "etcd-page": Target(
        _raises(etcd.read_page), (b'{"header":{"revision":"7"},"kvs":[{"key":"YQ==","value":"e30=","lease":"1"}]}',)
    ),
    "etcd-watch": Target(
        _raises(etcd.read_progress),
        (b'{"result":{"header":{"revision":"7"},"events":[{"type":"DELETE","kv":{"key":"YQ=="}}]}}',),
    ),
    "consul-health": Target(
        _raises(lambda data: consul.health(data, "foo", lambda *_: None, lambda _: None)),
        (
            b'[{"Node":{"Address":"10.0.0.1"},"Service":{"ID":"foo-1","Service":"foo","Tags":["v-789c0104","e-7b7d","t-x"],'
            b'"Address":"127.0.0.1","Port":9090,"Meta":{}},"Checks":[{"Status":"passing"}]}]',
        ),
    ),
    "consul-catalog": Target(_raises(consul.catalog), (b'{"consul":[],"foo":["v-1"]}',)),
    "nats-query": Target(_raises(nats.decode_query), (b'{"Action":"get","Service":{"name":"foo"}}',)),
    "nats-broadcast": Target(
        _raises(lambda data: nats.decode_broadcast(data, lambda *_: None)),
        (b'{"Action":"create","Service":' + RECORD + b"}",),
    ),
    "frames": Target(_frames, (b"\x81\x85\x00\x00\x00\x00hello", b"\x82\xfe\x00\x80" + bytes(132))),
    "headers": Target(_raises(_headers), (b"X-Foo: bar\nMicro-Id: 1\nConnection: x-foo",)),
    "duration": Target(_raises(_text(durations.parse), ValueError), (b"1m30s", b"1.5h", b"300ms")),
    "size": Target(_raises(_text(sizes.parse), ValueError), (b"4MiB", b"1.5G")),
    "trace": Target(_text(traceparent.parse), (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",)),
}
