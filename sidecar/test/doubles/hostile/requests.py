"""Two hundred and more ways to be rude to the daemon: what is said in well-formed HTTP, and all of them together."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.test.doubles.hostile import frames, malformed
from sidecar.test.doubles.hostile.attack import MAX_BODY, Attack, request


def attacks() -> list[Attack]:
    """All of them, each with a name of its own."""
    found = [
        *_registrations(),
        *_deregistrations(),
        *_queries(),
        *_calls(),
        *_forms(),
        *_messages(),
        *_methods_and_paths(),
        *malformed.attacks(),
        *frames.attacks(),
    ]
    names = [attack.name for attack in found]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    return found


_NODE = b'{"id":"x-1","address":"127.0.0.1","port":1}'

#: What is no JSON, or none that can be meant.
_NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \r\n\t ",
    "brace": b"{",
    "words": b"hello world",
    "form": b"name=x&nodes=1",
    "null": b"null",
    "true": b"true",
    "number": b"42",
    "string": b'"name"',
    "array": b"[]",
    "array of services": b'[{"name":"x","nodes":[' + _NODE + b"]}]",
    "two values": b'{"name":"x"} {"name":"y"}',
    "trailing comma": b'{"name":"x",}',
    "single quotes": b"{'name':'x'}",
    "comment": b'{"name":"x" /* really */}',
    "NaN": b'{"name":"x","nodes":[{"id":"x-1","address":"h","port":NaN}]}',
    "infinity": b'{"name":"x","nodes":[{"id":"x-1","address":"h","port":Infinity}]}',
    "bare bytes": bytes(range(256)),
    "zeros": bytes(1000),
    "invalid UTF-8": b'{"name":"\xff\xfe","nodes":[' + _NODE + b"]}",
    "overlong UTF-8": b'{"name":"\xc0\xaf","nodes":[' + _NODE + b"]}",
    "truncated UTF-8": b'{"name":"\xe2\x82","nodes":[' + _NODE + b"]}",
    "UTF-8 surrogate": b'{"name":"\xed\xa0\x80","nodes":[' + _NODE + b"]}",
    "lone surrogate": b'{"name":"\\ud800","nodes":[' + _NODE + b"]}",
    "raw control character": b'{"name":"a\x01b","nodes":[' + _NODE + b"]}",
    "UTF-16": '{"name":"x"}'.encode("utf-16"),
    "deep array": b"[" * 30_000,
    "deep and closed": b"[" * 30_000 + b"]" * 30_000,
    "deep object": b'{"a":' * 12_000 + b"1" + b"}" * 12_000,
    "deep in a field": b'{"name":"x","nodes":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
}


def _registrations() -> Iterator[Attack]:
    bodies = {
        **_NO_JSON,
        "empty object": b"{}",
        "no name": b'{"nodes":[' + _NODE + b"]}",
        "empty name": b'{"name":"","nodes":[' + _NODE + b"]}",
        "name a number": b'{"name":7,"nodes":[' + _NODE + b"]}",
        "name an object": b'{"name":{"a":1},"nodes":[' + _NODE + b"]}",
        "name a list": b'{"name":["x"],"nodes":[' + _NODE + b"]}",
        "name with NUL": b'{"name":"a\\u0000b","nodes":[' + _NODE + b"]}",
        "name with line end": b'{"name":"a\\r\\nSet-Cookie: b","nodes":[' + _NODE + b"]}",
        "name too long": b'{"name":"' + b"n" * 5_000 + b'","nodes":[' + _NODE + b"]}",
        "no nodes": b'{"name":"x"}',
        "nodes null": b'{"name":"x","nodes":null}',
        "nodes empty": b'{"name":"x","nodes":[]}',
        "nodes an object": b'{"name":"x","nodes":{}}',
        "nodes a string": b'{"name":"x","nodes":"h:1"}',
        "node null": b'{"name":"x","nodes":[null]}',
        "node a number": b'{"name":"x","nodes":[1]}',
        "node a list": b'{"name":"x","nodes":[[]]}',
        "node without anything": b'{"name":"x","nodes":[{}]}',
        "node without address": b'{"name":"x","nodes":[{"id":"x-1","port":1}]}',
        "node without port": b'{"name":"x","nodes":[{"id":"x-1","address":"h"}]}',
        "second node bad": b'{"name":"x","nodes":[' + _NODE + b',{"id":"x-2","address":"h","port":-1}]}',
        "twins": b'{"name":"x","nodes":[' + _NODE + b"," + _NODE + b"]}",
        "key twice": b'{"name":"x","name":"y","nodes":[' + _NODE + b"]}",
        "version a number": b'{"name":"x","version":1.5,"nodes":[' + _NODE + b"]}",
        "metadata a list": b'{"name":"x","metadata":[],"nodes":[' + _NODE + b"]}".replace(b"[]", b"[1]"),
        "metadata nested": b'{"name":"x","metadata":{"a":{"b":1}},"nodes":[' + _NODE + b"]}",
        "metadata a number": b'{"name":"x","metadata":{"a":1},"nodes":[' + _NODE + b"]}",
        "endpoints a string": b'{"name":"x","endpoints":"all","nodes":[' + _NODE + b"]}",
        "endpoint a number": b'{"name":"x","endpoints":[1],"nodes":[' + _NODE + b"]}",
        "values without end": b'{"name":"x","endpoints":[{"name":"e","request":'
        + b'{"values":[' * 100
        + b"]}" * 100
        + b'}],"nodes":['
        + _NODE
        + b"]}",
    }
    for port in (
        b"0",
        b"-1",
        b"65536",
        b"70000",
        b"1e3",
        b"80.5",
        b'"80"',
        b"true",
        b"null",
        b"[]",
        b"9" * 5_000,
        b"1e999",
    ):
        label = f"port {port[:12].decode()}"
        bodies[label] = b'{"name":"x","nodes":[{"id":"x-1","address":"h","port":' + port + b"}]}"
    for address in (
        "",
        " ",
        "h:0",
        "h:99999",
        "h:abc",
        "h:1:2",
        "[::1",
        "[zz]:1",
        "http://h:1/",
        "a b:1",
        "h\\u0000:1",
        "../x:1",
    ):
        bodies[f"address {address!r}"] = f'{{"name":"x","nodes":[{{"id":"x-1","address":"{address}"}}]}}'.encode()
    for label, body in bodies.items():
        yield Attack(f"register: {label}", request("POST", "/registry", body))
    good = b'{"name":"x","nodes":[' + _NODE + b"]}"
    for ttl in (
        "0",
        "0s",
        "-10s",
        "10",
        "ten",
        "1e9h",
        "NaN",
        "10s;",
        "%ff",
        "%00",
        "9" * 5_000,
        "10s&ttl=20s",
        "",
        "1 s",
    ):
        target = f"/registry?ttl={ttl.replace(' ', '%20')}"
        yield Attack(f"register: ttl {ttl[:20]!r}", request("POST", target, good))
    yield Attack("register: too large", request("POST", "/registry", good + b" " * MAX_BODY), (413,))
    yield Attack("register: compressed", request("POST", "/registry", good, {"Content-Encoding": "gzip"}), (415,))


def _deregistrations() -> Iterator[Attack]:
    for label in ("nothing", "brace", "null", "array", "invalid UTF-8", "deep array", "zeros"):
        yield Attack(f"deregister: {label}", request("DELETE", "/registry", _NO_JSON[label]))
    yield Attack("deregister: no nodes", request("DELETE", "/registry", b'{"name":"x"}'))
    yield Attack("deregister: no id", request("DELETE", "/registry", b'{"name":"x","nodes":[{"address":"h:1"}]}'))
    yield Attack("deregister: too large", request("DELETE", "/registry", b" " * (MAX_BODY + 1)), (413,))


def _queries() -> Iterator[Attack]:
    for query in (
        b"service=%ff%fe",
        b"service=%zz",
        b"service=%",
        b"service=a%00b",
        b"service=a%0d%0ab",
        b"service=a&service=b",
        b"service=nobody",
        b"service=" + b"a" * 4_000,
        b"service=../../etc/passwd",
        b"service=x&format=xml",
        b"service=x&format=",
        b"service=x&format=array&format=object",
        b"&".join(b"p%d=%d" % (number, number) for number in range(500)),
    ):
        yield Attack(f"query: {query[:40].decode()!r}", request("GET", b"/registry?" + query))


def _calls() -> Iterator[Attack]:
    kind: dict[str, bytes | str] = {"Content-Type": "application/json"}
    for label, body in _NO_JSON.items():
        yield Attack(f"call: {label}", request("POST", "/rpc", body, kind))
    for label, body in {
        "no service": b'{"method":"A.B","request":{}}',
        "no method": b'{"service":"x","request":{}}',
        "unknown service": b'{"service":"nobody","method":"A.B","request":{}}',
        "service a number": b'{"service":1,"method":"A.B","request":{}}',
        "method a list": b'{"service":"x","method":[],"request":{}}',
        "address a number": b'{"service":"x","method":"A.B","address":1,"request":{}}',
        "address of nobody": b'{"service":"x","method":"A.B","address":"127.0.0.1:22","request":{}}',
        "request no JSON": b'{"service":"x","method":"A.B","request":"{\\"a\\":"}',
        "request a lone surrogate": b'{"service":"x","method":"A.B","request":"\\"\\ud800\\""}',
        "timeout zero": b'{"service":"x","method":"A.B","request":{},"timeout":"0s"}',
        "timeout below zero": b'{"service":"x","method":"A.B","request":{},"timeout":-1}',
        "timeout no time": b'{"service":"x","method":"A.B","request":{},"timeout":"soon"}',
        "timeout an object": b'{"service":"x","method":"A.B","request":{},"timeout":{}}',
        "service with line end": b'{"service":"a\\r\\nHost: b","method":"A.B","request":{}}',
        "method with line end": b'{"service":"x","method":"A\\r\\nX: b","request":{}}',
        "service too long": b'{"service":"' + b"s" * 5_000 + b'","method":"A.B","request":{}}',
        "huge number": b'{"service":"x","method":"A.B","request":{"n":' + b"9" * 50_000 + b"}}",
        "deep request": b'{"service":"x","method":"A.B","request":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    }.items():
        yield Attack(f"call: {label}", request("POST", "/rpc", body, kind))
    body = b'{"service":"x","method":"A.B","request":{}}'
    for media in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "x" * 500,
        "application/json\xff",
    ):
        yield Attack(f"call: content type {media[:20]!r}", request("POST", "/rpc", body, {"Content-Type": media}))
    for timeout in ("0", "-1", "abc", "NaN", "inf", "1e9", "5 s", "9" * 5_000):
        headers = {**kind, "Timeout": timeout}
        yield Attack(f"call: Timeout {timeout[:10]!r}", request("POST", "/rpc", body, headers))
    yield Attack("call: too large", request("POST", "/rpc", b" " * (MAX_BODY + 1), kind), (413,))


def _forms() -> Iterator[Attack]:
    kind: dict[str, bytes | str] = {"Content-Type": "application/x-www-form-urlencoded"}
    for label, body in {
        "nothing": b"",
        "no service": b"method=A.B&request={}",
        "no method": b"service=x&request={}",
        "no request": b"service=x&method=A.B",
        "request no JSON": b"service=x&method=A.B&request=hello",
        "request half": b'service=x&method=A.B&request={"a":',
        "request deep": b"service=x&method=A.B&request=" + b"[" * 30_000,
        "invalid UTF-8": b"service=%ff&method=A.B&request={}",
        "NUL": b"service=a%00b&method=A.B&request={}",
        "unknown service": b"service=nobody&method=A.B&request={}",
        "fields without end": b"&".join(b"f%d=1" % number for number in range(5_000)),
        "ampersands": b"&" * 60_000,
        "bytes": bytes(range(256)) * 10,
    }.items():
        yield Attack(f"form: {label}", request("POST", "/rpc", body, kind))


def _messages() -> Iterator[Attack]:
    yield Attack("publish: no topic", request("POST", "/broker", b"x"))
    yield Attack("publish: empty topic", request("POST", "/broker?topic=", b"x"))
    yield Attack("publish: two topics", request("POST", "/broker?topic=a&topic=b", b"x"))
    yield Attack("publish: topic not UTF-8", request("POST", "/broker?topic=%ff", b"x"))
    yield Attack("publish: topic with NUL", request("POST", "/broker?topic=a%00b", b"x"))
    yield Attack("publish: topic with line end", request("POST", "/broker?topic=a%0d%0ab", b"x"))
    yield Attack("publish: topic too long", request("POST", "/broker?topic=" + "t" * 9_000, b"x"))
    yield Attack("publish: too large", request("POST", "/broker?topic=a", b"x" * (MAX_BODY + 1)), (413,))
    yield Attack("subscribe: no upgrade", request("GET", "/broker?topic=a"))


def _methods_and_paths() -> Iterator[Attack]:
    for method, path in (
        ("PUT", "/registry"),
        ("PATCH", "/registry"),
        ("GET", "/rpc"),
        ("DELETE", "/rpc"),
        ("DELETE", "/broker"),
        ("POST", "/health"),
        ("DELETE", "/"),
        ("BREW", "/registry"),
        ("get", "/registry"),
        ("X" * 60, "/registry"),
    ):
        yield Attack(f"method: {method[:10]} {path}", request(method, path, b"" if method == "POST" else None), (405,))
    for path in ("/nope", "/registry/x", "/../etc/passwd", "/%2e%2e/", "//", "/%00", "/\\", "/stats", "/<script>"):
        yield Attack(f"path: {path}", request("GET", path), (404,))
