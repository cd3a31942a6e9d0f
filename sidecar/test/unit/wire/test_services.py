"""Services as JSON: what apps send, what we answer, what Go services store."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadRequest, MalformedRecord
from sidecar.model import Endpoint, Node, Service, Value
from sidecar.wire import services


def made(name: str) -> str:
    return f"{name}-made"


def read(body: bytes | dict[str, Any], what: services.What = "register") -> Service:
    return services.decode(body if isinstance(body, bytes) else json.dumps(body).encode(), what, made)


def with_node(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "nodes": [{"id": "a-1", **fields}]}


class Decode(SynchronousTestCase):
    def test_readme(self) -> None:
        """The example of the README, capitals and all."""
        service = read(b'{"Name": "foo.bar", "Nodes": [{"Port": 9091, "Address": "127.0.0.1", "Id": "foo.bar-017"}]}')
        self.assertEqual(service, Service("foo.bar", nodes=(Node("foo.bar-017", "127.0.0.1", 9091),)))

    def test_secure(self) -> None:
        """An address that begins with ``https://`` means a node that speaks TLS, on port 443 unless it says another."""
        for address, port, host, wanted in (
            ("https://10.0.0.1", 8443, "10.0.0.1", 8443),
            ("https://10.0.0.1:8443", None, "10.0.0.1", 8443),
            ("HTTPS://pay.example/", None, "pay.example", 443),
            ("https://[::1]:8443", 8443, "::1", 8443),
            ("https://[::1]", None, "::1", 443),
        ):
            (node,) = read(with_node(address=address, port=port, metadata={"a": "b"})).nodes
            self.assertEqual((node.address, node.port, node.metadata), (host, wanted, {"a": "b", "secure": "true"}))
        for address in ("https://", "http://10.0.0.1:80", "https://10.0.0.1/path", "https://a:b@c:1"):
            self.assertRaises(BadRequest, read, with_node(address=address, port=80))

    def test_everything(self) -> None:
        """Version, metadata, endpoints with their values, and node metadata are kept; null is as good as absent."""
        service = read(
            {
                "NAME": "a",
                "version": "1",
                "metadata": {"k": "v", "n": None},
                "endpoints": [
                    {
                        "name": "A.B",
                        "request": {"name": "R", "type": "R", "values": [{"name": "x", "type": "int", "values": None}]},
                        "response": None,
                        "metadata": None,
                    }
                ],
                "nodes": [{"id": "n", "address": "h:1", "metadata": {"protocol": "http"}}],
                "unknown": [1],
            }
        )
        endpoint = Endpoint("A.B", Value("R", "R", (Value("x", "int"),)))
        node = Node("n", "h", 1, {"protocol": "http"})
        self.assertEqual(service, Service("a", "1", {"k": "v", "n": ""}, (endpoint,), (node,)))

    def test_records_without_a_port(self) -> None:
        """A record may name a queue, as go-micro's NATS transport registers it; an app that posts one slipped."""
        for fields in ({"address": "_INBOX.Xz9"}, {"address": "_INBOX.Xz9", "port": 0}, {"address": "10.0.0.7"}):
            body = json.dumps({"name": "foo", "nodes": [{"id": "a", **fields}]}).encode()
            node = services.decode_record(body).nodes[0]
            self.assertEqual((node.address, node.port, node.hostport), (fields["address"], 0, fields["address"]))
            self.assertRaises(BadRequest, services.decode, body, "register", str)
        # Written as go-micro writes it, and shown with the port that it does not have.
        service = Service("foo", nodes=(Node("a", "_INBOX.Xz9", 0),))
        self.assertEqual(services.to_go_json(service)["nodes"][0]["address"], "_INBOX.Xz9")
        self.assertEqual(services.describe([service])["nodes"], [{"id": "a", "address": "_INBOX.Xz9", "port": 0}])
        for address in ("", ":", "a b"):
            broken = json.dumps({"name": "foo", "nodes": [{"id": "a", "address": address}]}).encode()
            self.assertRaises(MalformedRecord, services.decode_record, broken)

    def test_addresses(self) -> None:
        """A host and a port, apart or joined; IPv6 with brackets or, where it is clear, without."""
        for fields, found in (
            ({"address": "h", "port": 5}, ("h", 5)),
            ({"address": "h:5"}, ("h", 5)),
            ({"address": "h:5", "port": 0}, ("h", 5)),
            ({"address": "h:5", "port": 5}, ("h", 5)),
            ({"address": "[::]", "port": 60728}, ("::", 60728)),
            ({"address": "[::1]:80"}, ("::1", 80)),
            ({"address": "::1", "port": 80}, ("::1", 80)),
            ({"address": "my_host-1.example.org.", "port": 65535}, ("my_host-1.example.org.", 65535)),
        ):
            (node,) = read(with_node(**fields)).nodes
            self.assertEqual((node.address, node.port), found, fields)

    def test_ids_are_made(self) -> None:
        """A node without an id gets one when it is registered."""
        self.assertEqual(read({"name": "a", "nodes": [{"address": "h:1"}]}).nodes[0].id, "a-made")

    def test_deregister_needs_ids_only(self) -> None:
        """To deregister, a node is known by its id; its address may be missing."""
        self.assertEqual(read({"name": "a", "nodes": [{"id": "x"}]}, "deregister").nodes[0].id, "x")
        error = self.assertRaises(BadRequest, read, {"name": "a", "nodes": [{"address": "h:1"}]}, "deregister")
        self.assertEqual(str(error), "nodes[0].id: is missing")

    def test_faults_name_the_field(self) -> None:
        """What is wrong is named by its path."""
        deep: Any = None
        for _ in range(40):
            deep = {"name": "x", "values": [deep] if deep else None}
        for body, start in (
            ({}, "name: "),
            ({"name": ""}, "name: "),
            ({"name": 5}, "name: "),
            ({"name": "a\n"}, "name: "),
            ({"name": " a"}, "name: "),
            ({"name": ".."}, "name: "),
            ({"name": "a" * 600}, "name: "),
            ({"name": "a"}, "nodes: "),
            ({"name": "a", "nodes": None}, "nodes: "),
            ({"name": "a", "nodes": []}, "nodes: "),
            ({"name": "a", "nodes": {}}, "nodes: "),
            ({"name": "a", "nodes": [None]}, "nodes[0]: "),
            ({"name": "a", "version": 1, "nodes": []}, "version: "),
            ({"name": "a", "metadata": {"b": 1}, "nodes": []}, "metadata.b: "),
            ({"name": "a", "metadata": [], "nodes": []}, "metadata: "),
            ({"name": "a", "endpoints": "x", "nodes": []}, "endpoints: "),
            ({"name": "a", "endpoints": [{"name": "b", "request": 5}], "nodes": []}, "endpoints[0].request: "),
            ({"name": "a", "endpoints": [{"name": "b", "request": deep}], "nodes": []}, "endpoints[0].request.values"),
            (with_node(), "nodes[0].address: "),
            (with_node(port=1), "nodes[0].address: "),
            (with_node(address=""), "nodes[0].address: "),
            (with_node(address=":80"), "nodes[0].address: "),
            (with_node(address="a b:80"), "nodes[0].address: "),
            (with_node(address="http://h:80"), "nodes[0].address: "),
            (with_node(address="[::1"), "nodes[0].address: "),
            (with_node(address="[h]:80"), "nodes[0].address: "),
            (with_node(address="h:x"), "nodes[0].address: "),
            (with_node(address="h:0"), "nodes[0].address: "),
            (with_node(address="h:70000"), "nodes[0].address: "),
            (with_node(address="ä", port=1), "nodes[0].address: "),
            (with_node(address="h"), "nodes[0].port: "),
            (with_node(address="h", port=0), "nodes[0].port: "),
            (with_node(address="h", port=-1), "nodes[0].port: "),
            (with_node(address="h", port=70000), "nodes[0].port: "),
            (with_node(address="h", port="80"), "nodes[0].port: "),
            (with_node(address="h", port=80.5), "nodes[0].port: "),
            (with_node(address="h", port=True), "nodes[0].port: "),
            (with_node(address="h:1", port=2), "nodes[0].port: "),
            (with_node(address="h:1", metadata={"a": []}), "nodes[0].metadata.a: "),
            ({"name": "a", "nodes": [{"id": "x", "address": "h:1"}] * 2}, "nodes[1].id: "),
        ):
            error = self.assertRaises(BadRequest, read, body)
            self.assertTrue(str(error).startswith(start), f"{body}: {error}")

    def test_hostile_bytes(self) -> None:
        """What is not clean JSON is a BadRequest with a message of sane size, never anything else."""
        for body in (
            b"",
            b"  ",
            b"null",
            b"5",
            b"[]",
            b"{",
            b'{"name": "\xff"}',
            b'{"name": "\\ud800"}',
            b'{"name": NaN}',
            b'{"name": "a", "name": "b"}',
            b'{"name": 1e999}',
            b'{"name":' + b"9" * 10000 + b"}",
            b"[" * 100000,
            b"[" * 1000 + b"]" * 1000,
            b'{"a":' * 1000 + b"1" + b"}" * 1000,
            b"\xef\xbb\xbf{}",
            b'{"name": "a"} x',
        ):
            error = self.assertRaises(BadRequest, read, body)
            self.assertLess(len(str(error)), 300)

    @given(st.binary())
    def test_any_bytes(self, body: bytes) -> None:
        """Bytes raise BadRequest or MalformedRecord or are a service."""
        try:
            self.assertIsInstance(read(body), Service)
        except BadRequest:
            pass
        try:
            self.assertIsInstance(services.decode_record(body), Service)
        except MalformedRecord:
            pass

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["name", "Nodes", "id", "address", "port", "metadata"]), inner)
            ),
        )
    )
    def test_any_shape(self, obj: Any) -> None:
        """JSON of any shape does the same."""
        try:
            read(json.dumps(obj).encode())
        except BadRequest:
            pass


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=12)
METADATA = st.dictionaries(WORDS, WORDS, max_size=3)
VALUES = st.recursive(
    st.builds(Value, WORDS, WORDS), lambda inner: st.builds(Value, WORDS, WORDS, st.lists(inner, max_size=3).map(tuple))
)
NODES = st.builds(Node, WORDS, st.sampled_from(["127.0.0.1", "::1", "host.example"]), st.integers(1, 65535), METADATA)
SERVICES = st.builds(
    Service,
    WORDS,
    WORDS | st.just(""),
    METADATA,
    st.lists(st.builds(Endpoint, WORDS, st.none() | VALUES, st.none() | VALUES, METADATA), max_size=3).map(tuple),
    st.lists(NODES, min_size=1, max_size=4, unique_by=lambda node: node.id).map(tuple),
).filter(lambda service: all(text not in (".", "..") for text in (service.name, *(n.id for n in service.nodes))))


class Encode(SynchronousTestCase):
    @given(SERVICES)
    def test_round_trips(self, service: Service) -> None:
        """Our form and the stores' form are both read back as what was written."""
        self.assertEqual(read(json.dumps(services.to_json(service)).encode()), service)
        self.assertEqual(services.decode_record(json.dumps(services.to_go_json(service)).encode()), service)

    def test_describe(self) -> None:
        """One service reads as in the README: its name, then its nodes with bracketed IPv6 and a numeric port."""
        service = Service("go.micro.srv.example", nodes=(Node("x", "::", 60728),))
        self.assertEqual(
            services.describe((service,)),
            {"name": "go.micro.srv.example", "nodes": [{"id": "x", "address": "[::]", "port": 60728}]},
        )

    def test_describe_versions(self) -> None:
        """With several versions each node says its own; with one the service does."""
        one = Service("a", "1", {"k": "v"}, (Endpoint("A.B"),), (Node("x", "h", 1, {"zone": "z"}),))
        two = evolve(one, version="2", nodes=(Node("y", "h", 2),))
        alone = services.describe((one,))
        self.assertEqual((alone["version"], "version" in alone["nodes"][0]), ("1", False))
        self.assertEqual(alone["nodes"][0]["metadata"], {"zone": "z"})
        both = services.describe((one, two))
        self.assertNotIn("version", both)
        self.assertEqual([(node["id"], node["version"]) for node in both["nodes"]], [("x", "1"), ("y", "2")])
        self.assertEqual(len(both["endpoints"]), 1)

    def test_array_form(self) -> None:
        """The original's form has every key, with address and port apart."""
        self.assertEqual(
            services.to_json(Service("a", "1", nodes=(Node("x", "h", 1),))),
            {
                "name": "a",
                "version": "1",
                "metadata": {},
                "endpoints": [],
                "nodes": [{"id": "x", "address": "h", "port": 1, "metadata": {}}],
            },
        )

    def test_go_form(self) -> None:
        """The stores' form has joined addresses."""
        found = services.to_go_json(Service("a", "1", nodes=(Node("x", "::1", 1),)))
        self.assertEqual(found["nodes"], [{"metadata": {}, "id": "x", "address": "[::1]:1"}])
        self.assertIsNone(found["endpoints"])
