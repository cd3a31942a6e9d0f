"""Consul's records: read as services of all generations left them, written so that those can read ours."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import orjson
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import sidecar.test
from sidecar.errors import MalformedRecord
from sidecar.model import Endpoint, Node, Service, Value
from sidecar.test.unit.wire.test_services import SERVICES
from sidecar.wire.registry import consul

VECTORS = Path(sidecar.test.__file__).parent / "vectors" / "registry"


def read(entries: list[Any], name: str = "a") -> tuple[tuple[Service, ...], dict[str, str]]:
    """The services, and the complaints by record."""
    complaints: dict[str, str] = {}

    def complain(record: str, why: str, whole: bool) -> None:
        complaints[record] = why

    found = consul.health(orjson.dumps(entries), name, complain, lambda record: None)
    return found.services, complaints


def entry(**fields: Any) -> dict[str, Any]:
    record = {"ID": "n", "Service": "a", "Address": "127.0.0.1", "Port": 80, "Tags": [], **fields}
    return {"Node": {"Address": "10.0.0.1"}, "Service": record, "Checks": []}


def _unpacked(tag: str) -> str:
    """What a tag says, whatever the order of its keys."""
    body = consul.unpack(tag[2:]).decode()
    return f"{tag[0]} {body if tag[0] == 'v' else json.dumps(json.loads(body), sort_keys=True)}"


class Secure(SynchronousTestCase):
    def test_scheme(self) -> None:
        """An address that begins with ``https://`` says that the node speaks TLS."""
        ((service,), complaints) = read([entry(Address="https://10.0.0.1", Port=8443)])
        self.assertEqual(complaints, {})
        self.assertEqual(service.nodes, (Node("n", "10.0.0.1", 8443, {"secure": "true"}),))


class Recorded(SynchronousTestCase):
    def test_services_of_all_generations(self) -> None:
        """What go-micro services left in a Consul is read: name, version, endpoints, metadata, address."""
        for generation in ("v1.18.0", "v2.9.1", "v4.11.0", "v5.30.0"):
            stored = json.loads((VECTORS / f"consul-{generation}.json").read_text())
            (say,), complaints = read(stored["srv.say"], "srv.say")
            self.assertEqual((say.name, say.version, complaints), ("srv.say", "1.2.3", {}))
            self.assertEqual(
                [each.name for each in say.endpoints],
                ["Example.Call", "Say.Fail", "Say.Hello", "Say.Meta", "Say.Slow", "Func"],
            )
            hello = say.endpoints[2].request
            assert hello is not None
            self.assertEqual((hello.name, hello.values[-1]), ("HelloReq", Value("name", "string")))
            self.assertEqual(say.endpoints[5].metadata["topic"], "foo")
            (node,) = say.nodes
            self.assertEqual(node.address, "127.0.0.1")
            self.assertEqual(node.metadata["protocol"], "grpc" if generation == "v2.9.1" else "mucp")
            self.assertEqual(node.metadata["registry"], "consul")

    def test_subscribers(self) -> None:
        """A subscriber of the HTTP broker is a version named after its queue."""
        stored = json.loads((VECTORS / "consul-v1.18.0.json").read_text())
        found, _ = read(stored["go.micro.http.broker"], "go.micro.http.broker")
        self.assertEqual([service.version for service in found], ["q1", "ff.http.broadcast"])
        self.assertEqual(found[0].nodes[0].metadata["topic"], "foo")

    def test_our_tags_are_theirs(self) -> None:
        """What we write for such a service unpacks to what its own tags unpack to."""
        for generation in ("v1.18.0", "v5.30.0"):
            (stored,) = json.loads((VECTORS / f"consul-{generation}.json").read_text())["srv.say"]
            (say,), _ = read([stored], "srv.say")
            theirs = [_unpacked(tag) for tag in stored["Service"]["Tags"]]
            ours = [_unpacked(tag) for tag in consul.tags(say, say.nodes[0])]
            self.assertEqual(sorted(ours), sorted(theirs))

    def test_go_bytes(self) -> None:
        """Go's streams are read, the empty one too."""
        pair = "789caa562a28ca2fc94fcecf51b252ca2d4d2e50aa05040000ffff46a906e2"
        self.assertEqual(consul.unpack(pair), b'{"protocol":"mucp"}')
        self.assertEqual(consul.unpack("789c32d433d03300040000ffff02ce00ee"), b"1.0.0")
        self.assertEqual(consul.unpack("789c010000ffff00000001"), b"")


class Registration(SynchronousTestCase):
    service = Service("a", "1", endpoints=(Endpoint("A.B"),), nodes=(Node("a-1", "::1", 80, {"k": "v"}),))

    def test_with_ttl(self) -> None:
        """A TTL is a check in Go's durations, deregistered five seconds after, and never before 65."""
        for ttl, text, after in ((60, "1m0s", "1m5s"), (10, "10s", "1m5s"), (90, "1m30s", "1m35s")):
            body = consul.registration(self.service, self.service.nodes[0], ttl)
            self.assertEqual(body["Check"]["TTL"], text)
            self.assertEqual(body["Check"]["DeregisterCriticalServiceAfter"], after)

    def test_without_ttl(self) -> None:
        """No TTL: no check. The address is bare, the port a number."""
        body = consul.registration(self.service, self.service.nodes[0], None)
        self.assertNotIn("Check", body)
        self.assertEqual(
            {key: body[key] for key in ("ID", "Name", "Address", "Port", "Meta")},
            {"ID": "a-1", "Name": "a", "Address": "::1", "Port": 80, "Meta": {"k": "v"}},
        )

    def test_meta_that_consul_refuses(self) -> None:
        """Pairs that Consul's Meta cannot hold are in the tags alone."""
        node = evolve(self.service.nodes[0], metadata={"a b": "c", "d": "e" * 600, "f": "g"})
        body = consul.registration(self.service, node, None)
        self.assertEqual(body["Meta"], {"f": "g"})
        self.assertEqual(consul.described(body["Tags"])[0], node.metadata)

    def test_version_always(self) -> None:
        """An empty version has its tag all the same."""
        tags = consul.tags(evolve(self.service, version=""), self.service.nodes[0])
        self.assertEqual([tag[0] for tag in tags], ["t", "e", "v"])

    @given(SERVICES)
    def test_round_trip(self, service: Service) -> None:
        """What is registered is read back; only the service's own metadata has no place in Consul."""
        entries = []
        for node in service.nodes:
            body = consul.registration(service, node, None)
            entries.append({"Service": {**body, "Service": body.pop("Name")}, "Node": {}, "Checks": []})
        found, complaints = read(entries, service.name)
        self.assertEqual((found, complaints), ((evolve(service, metadata={}),), {}))


class Reading(SynchronousTestCase):
    def test_plain_tags(self) -> None:
        """The plain forms of before May 2016 are read; of two styles for one letter the first holds."""
        endpoint = '{"name":"A.B","request":null,"response":null,"metadata":{"stream":"false"}}'
        self.assertEqual(
            consul.described(['t={"k":"v"}', f"e={endpoint}", "v=1.0", f"v-{consul.pack(b'2.0')}"]),
            ({"k": "v"}, (Endpoint("A.B", metadata={"stream": "false"}),), "1.0"),
        )

    def test_strangers_tags(self) -> None:
        """Tags of others are left alone."""
        self.assertEqual(consul.described(["traefik.enable=true", "v1", "env", "", "e", "t"]), ({}, (), ""))

    def test_critical(self) -> None:
        """A node with a critical check is left out, its version stays; it still counts as present."""
        bad = entry(ID="x", Tags=[f"v-{consul.pack(b'2')}"])
        bad["Checks"] = [{"Status": "passing"}, {"Status": "critical"}]
        found = consul.health(orjson.dumps([entry(), bad]), "a", lambda *_: None, lambda _: None)
        self.assertEqual([(each.version, len(each.nodes)) for each in found.services], [("", 1), ("2", 0)])
        self.assertEqual(found.present, {"n", "x"})

    def test_address_of_the_agent(self) -> None:
        """A service without an address is at its agent's."""
        (service,), _ = read([entry(Address="")])
        self.assertEqual(service.nodes[0].address, "10.0.0.1")

    def test_malformed(self) -> None:
        """What cannot be read is complained of by id, whatever it is; a bad part hides neither its node nor others."""
        bomb = zlib.compress(b"0" * 10_000_000).hex()
        pair = consul.pack(b'{"a":"b"}')
        partly: list[Any] = [
            entry(ID="script", Tags=["v-1.0.0", f"t-{pair}"]),
            entry(ID="hex", Tags=["v-xyz"]),
            entry(ID="zlib", Tags=["t-00ff"]),
            entry(ID="short", Tags=["v-789c"]),
            entry(ID="bomb", Tags=[f"v-{bomb}"]),
            entry(ID="json", Tags=[f"e-{consul.pack(b'{')}"]),
            entry(ID="pair", Tags=[f"t-{consul.pack(b'[]')}"]),
            entry(ID="number", Tags=[f"t-{consul.pack(b'{%s:1}' % b'1')}"]),
            entry(ID="text", Tags=[f"v-{consul.pack(bytes([255]))}"]),
            entry(ID="tags", Tags=5),
            entry(ID="meta", Meta=5),
        ]
        bad: list[Any] = [
            entry(ID="port", Port=70000),
            entry(ID="type", Port="80"),
            entry(ID="host", Address="a b"),
            entry(ID="list", Address=[5]),
        ]
        found, complaints = read([*partly, *bad, None, 5, [], {"Service": None}, entry(ID=None), entry()])
        kept = [each["Service"]["ID"] for each in partly]
        self.assertEqual([node.id for service in found for node in service.nodes], [*kept, "n"])
        self.assertEqual(found[0].nodes[0].metadata, {"a": "b"})
        self.assertEqual(len(complaints), len(partly) + len(bad) + 5)
        self.assertTrue(all(len(why) < 300 for why in complaints.values()))

    def test_not_an_answer(self) -> None:
        """An answer that is none is one error; null is an empty one."""
        for body in (b"", b"{", b"{}", b"5"):
            self.assertRaises(MalformedRecord, consul.health, body, "a", lambda *_: None, lambda _: None)
        self.assertEqual(consul.catalog(b"null"), ())
        self.assertRaises(MalformedRecord, consul.catalog, b"[]")

    @given(st.text())
    def test_any_tag(self, text: str) -> None:
        """No tag raises anything but MalformedRecord."""
        for letter in "tev":
            for style in "-=":
                self._described(letter + style + text)

    def _described(self, tag: str) -> None:
        try:
            consul.described([tag])
        except MalformedRecord:
            pass
