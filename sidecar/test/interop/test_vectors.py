"""What real go-micro programs put on the wire and left in registries, recorded by interop/record.py, is understood."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import ServiceFault
from sidecar.model import Fault, Reply, Service
from sidecar.wire import messages, services
from sidecar.wire.registry import consul, etcd
from sidecar.wire.registry import nats as natsregistry
from sidecar.wire.dns import mdns
from sidecar.wire.mucp import jsonrpc, protorpc, server

#: The names of the recordings: v2 speaks gRPC by default, mucp by choice.
RECORDINGS = ("v1.18.0", "v2.9.1-grpc", "v2.9.1-mucp", "v3.7.1", "v4.11.0", "v5.3.0", "v5.30.0")

FAULT = Fault("srv.say", 409, "bad John", "Conflict")


def recordings() -> Iterator[tuple[str, dict[str, Any]]]:
    place = files("sidecar.test") / "vectors" / "interop"
    for name in RECORDINGS:
        yield name, json.loads((place / f"{name}.json").read_text())


def http(text: str) -> tuple[str, dict[str, str], bytes]:
    """First line, headers by lower-case name, and body of a recorded HTTP message."""
    head, _, body = text.encode("latin-1").partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def header_of(headers: dict[str, str]) -> Callable[[bytes], bytes | None]:
    def header(name: bytes) -> bytes | None:
        value = headers.get(name.decode())
        return None if value is None else value.encode("latin-1")

    return header


class AnswersTests(SynchronousTestCase):
    """What services answer to the universal request."""

    def answered(self, recording: dict[str, Any], name: str) -> bytes | Fault:
        """The payload or fault that our codecs read from the recorded answer."""
        first, headers, body = http(recording["our calls"][name]["response"])
        self.assertTrue(first.startswith("HTTP/1.1 200"), first)
        try:
            if name.startswith("protobuf"):
                return protorpc.result(body, header_of(headers))
            return jsonrpc.result(body, b"7", header_of(headers))[0]
        except ServiceFault as error:
            return error.fault

    def mucp(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((name, recording) for name, recording in recordings() if recording["protocol"] == "mucp")

    def test_good(self) -> None:
        """The result of each generation is its own bytes, 64-bit integers digit for digit."""
        for name, recording in self.mucp():
            self.assertEqual(self.answered(recording, "hello"), b'{"msg":"Hello John"}', name)
            self.assertEqual(self.answered(recording, "null request"), b'{"msg":"Hello "}', name)
            self.assertEqual(self.answered(recording, "big number"), b'{"id":9223372036854775807}', name)
            self.assertEqual(self.answered(recording, "protobuf"), b"\x0a\x0aHello John", name)

    def test_coded_errors(self) -> None:
        """An error keeps id, code and detail."""
        for name, recording in self.mucp():
            self.assertEqual(self.answered(recording, "fault"), FAULT, name)

    def test_other_errors(self) -> None:
        """An error of go-micro itself, or of plain Go, is a fault without a code that says the same."""
        for name, recording in self.mucp():
            for case, words in {
                "plain error": "just text",
                "unknown method": "Nope",
                "unknown type": "Nope",
                "protobuf unknown method": "Nope",
                "ill-formed method": "ill-formed",
                "wrong type": "cannot unmarshal",
                "unsupported type": "Content-Type",
            }.items():
                fault = self.answered(recording, case)
                assert isinstance(fault, Fault), (name, case, fault)
                self.assertEqual(fault.code, 0, (name, case))
                self.assertIn(words, fault.detail, (name, case))


class RequestsTests(SynchronousTestCase):
    """What Go clients send to an app that is registered without a protocol, as ours are."""

    def requests(self, kind: str) -> Iterator[tuple[str, dict[str, str], bytes]]:
        for name, recording in recordings():
            if recording["protocol"] == "mucp":
                (request,) = recording["its client and our app"][kind]["requests"]
                first, headers, body = http(request)
                self.assertEqual(first, "POST / HTTP/1.1", name)
                yield name, headers, body

    def test_json(self) -> None:
        """A call in JSON is read, and answered in the envelope that it came in."""
        for name, headers, body in self.requests("json"):
            call = server.decode(headers, body)
            self.assertEqual((call.dialect, call.service, call.method), ("jsonrpc", "our.app", "Say.Hello"), name)
            self.assertEqual(json.loads(call.body), {"name": "John"}, name)
            _, answer = server.encode(call, Reply(b'{"msg":"Hello John"}'))
            said = json.loads(answer)
            self.assertEqual(said["result"], {"msg": "Hello John"}, name)
            self.assertEqual(said["id"], json.loads(body)["id"], name)
            self.assertIsNone(said["error"], name)

    def test_protobuf(self) -> None:
        """A call in protobuf is read, its payload opaque."""
        for name, headers, body in self.requests("protobuf"):
            call = server.decode(headers, body)
            self.assertEqual((call.dialect, call.method, call.body), ("protorpc", "Say.Text", b"\x0a\x04John"), name)


class MessagesTests(SynchronousTestCase):
    """What Go publishers hand to brokers."""

    def test_nats(self) -> None:
        """A message's body and content type are read from what NATS carries."""
        for name, recording in recordings():
            read = [messages.decode(heard["payload"].encode("latin-1")) for heard in recording["messages over nats"]]
            self.assertEqual(
                [message.body.strip() for message in read], [b'{"a":1}', b"\x0a\x04John".strip(), b'{"a":2}'], name
            )
            types = ["application/json", "application/protobuf", "application/json"]
            self.assertEqual([message.header["Content-Type"] for message in read], types, name)
            self.assertEqual(read[0].header["X-Foo"], "bar", name)

    def test_http(self) -> None:
        """So it is from what the HTTP broker posts."""
        for name, recording in recordings():
            for number, post in enumerate(recording["messages over http"], 1):
                first, _, body = http(post)
                self.assertIn("?id=news-1 HTTP/1.1", first, name)
                message = messages.decode(body)
                self.assertEqual(json.loads(message.body), {"a": number}, name)
                self.assertEqual(message.header["Content-Type"], "application/json", name)


class RegistriesTests(SynchronousTestCase):
    """What services leave in registries: one node, in zone a, with its protocol and its endpoints."""

    def check(self, name: str, recording: dict[str, Any], found: Service) -> None:
        self.assertEqual((found.name, found.version), ("srv.say", "1.0.0"), name)
        (node,) = found.nodes
        self.assertTrue(node.id.startswith("srv.say-"), name)
        self.assertEqual(node.address, "127.0.0.1", name)
        self.assertEqual((node.metadata["zone"], node.metadata["protocol"]), ("a", recording["protocol"]), name)
        self.assertIn("Say.Hello", [endpoint.name for endpoint in found.endpoints], name)

    def complain(self, record: str, why: str, whole: bool) -> None:
        self.fail(f"{record}: {why}")

    def test_consul(self) -> None:
        """Consul's tags are unpacked."""
        for name, recording in recordings():
            answer = json.dumps(recording["registries"]["consul"]["srv.say"]).encode()
            health = consul.health(answer, "srv.say", self.complain, lambda _: None)
            (found,) = health.services
            self.check(name, recording, found)

    def test_etcd(self) -> None:
        """Each key of etcd holds a whole service with one node, the HTTP broker's among them."""
        for name, recording in recordings():
            read = [services.decode_record(value.encode()) for value in recording["registries"]["etcd"].values()]
            (found,) = (service for service in read if service.name == "srv.say")
            self.check(name, recording, found)
            topics = [s for s in read if "http.broker" in s.name and s.nodes[0].metadata.get("topic") == "news"]
            self.assertEqual(
                [(service.version, service.nodes[0].metadata["broker"]) for service in topics], [("q1", "http")], name
            )
            for key, service in zip(recording["registries"]["etcd"], read, strict=True):
                self.assertEqual(etcd.key(service.name, service.nodes[0].id), key, name)

    def test_nats(self) -> None:
        """Answers and announcements over NATS are read, in both dialects of subjects."""
        for name, recording in recordings():
            heard = recording["registries"]["nats"]
            (answer,) = (one["payload"] for one in heard["get"] if one["subject"] == "inbox.record")
            self.check(name, recording, natsregistry.decode_answer(answer.encode("latin-1")))
            told = [natsregistry.decode_broadcast(one["payload"].encode("latin-1")) for one in heard["announced"]]
            self.assertIn("srv.say", [one.service.name for one in told if one is not None], name)

    def test_mdns(self) -> None:
        """Every packet that a service and its client multicast is read: the node comes, is on the list, and leaves."""
        for name, recording in recordings():
            packets = [mdns.decode(bytes.fromhex(heard["packet"])) for heard in recording["mdns packets"]]
            seen = [told for packet in packets for told in mdns.read_nodes(packet)]
            self.assertEqual([one for one in seen if isinstance(one, mdns.MalformedNode)], [], name)
            of_say = [one for one in seen if isinstance(one, mdns.NodeAnnouncement) and one.service.name == "srv.say"]
            self.check(name, recording, next(one for one in of_say if not one.gone).service)
            self.assertTrue(of_say[-1].gone, name)
            self.assertIn("srv.say", [listed for packet in packets for listed in mdns.names(packet)], name)

    def test_node_addresses_are_whole(self) -> None:
        """Host and port are found wherever a generation keeps them."""
        for name, recording in recordings():
            record = next(
                value
                for key, value in recording["registries"]["etcd"].items()
                if key.startswith("/micro/registry/srv.say/")
            )
            node = services.decode_record(record.encode()).nodes[0]
            self.assertEqual(node.hostport, json.loads(record)["nodes"][0]["address"], name)
