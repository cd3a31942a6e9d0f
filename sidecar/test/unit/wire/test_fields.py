"""Names that were nearly hit, and services in forms that are not go-micro's."""

from __future__ import annotations

import json
from urllib.parse import unquote_to_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadRequest, TooLarge
from sidecar.wire import fields, services

CALL = ("service", "method", "address", "request", "timeout", "version")
QUERY = ("service", "format", "version", "ttl")


class Forms(SynchronousTestCase):
    @given(
        st.lists(st.sampled_from([b"%", b"=", b"_", b"+", b" ", b"\n", b"\r\n", b"4", b"aF", b"%41", b"%0a", b"%3D"]))
    )
    @settings(deadline=None, max_examples=500)
    def test_unquoted(self, pieces: list[bytes]) -> None:
        """The quick way in C reads what the standard library reads."""
        text = b"".join(pieces)
        self.assertEqual(fields.unquoted(text), unquote_to_bytes(text.replace(b"+", b" ")))


class Meant(SynchronousTestCase):
    def test_near(self) -> None:
        """One slip is near, and two for names of six letters or more."""
        for name, known, meant in (
            ("reqest", CALL, "request"),
            ("requst", CALL, "request"),
            ("requests", CALL, "request"),
            ("reuqest", CALL, "request"),
            ("adress", CALL, "address"),
            ("adres", CALL, "address"),
            ("sevrice", CALL, "service"),
            ("metod", CALL, "method"),
            ("tiemout", CALL, "timeout"),
            ("tll", QUERY, "ttl"),
            ("tl", QUERY, None),
            ("tlt", QUERY, "ttl"),
            ("ttls", QUERY, "ttl"),
            ("formt", QUERY, "format"),
        ):
            self.assertEqual(fields.meant(name, known), meant, name)

    def test_far(self) -> None:
        """Whatever is further off, and names under three letters, are near to nothing."""
        for name in ("id", "_", "ts", "tt", "", "params", "callback", "token", "jsonrpc", "pretty", "x" * 1000):
            self.assertIsNone(fields.meant(name, CALL), name)
            self.assertIsNone(fields.meant(name, QUERY), name)
        self.assertIsNone(fields.meant("ids", ("id",)))


def refusal(body: object) -> str:
    try:
        services.decode(json.dumps(body).encode(), "register", lambda name: f"{name}-1")
    except BadRequest as error:
        return str(error)
    return ""


class Registrations(SynchronousTestCase):
    def test_slips(self) -> None:
        """A member that is nearly one of ours is refused by its path, since it would be lost."""
        node = {"id": "a-1", "address": "h", "port": 1}
        for body, path, meant in (
            ({"name": "a", "nodes": [node], "metdata": {}}, "metdata: ", "metadata"),
            ({"name": "a", "nodes": [node], "Versoin": "1"}, "Versoin: ", "version"),
            ({"name": "a", "nodes": [node, {**node, "id": "b", "metadat": {}}]}, "nodes[1].metadat: ", "metadata"),
        ):
            told = refusal(body)
            self.assertTrue(told.startswith(path), told)
            self.assertIn(meant, told)

    def test_others(self) -> None:
        """What is far from ours is ignored, as the original did."""
        node = {"id": "a-1", "address": "h", "port": 1, "tags": [], "weight": 3, "version": "1"}
        self.assertEqual(refusal({"name": "a", "nodes": [node], "stale": True, "id": 1, "comment": ""}), "")

    def test_consul(self) -> None:
        """A service definition of Consul's is told the form that is wanted, holding what it said itself."""
        wanted = '{"name":"web","nodes":[{"id":"web-1","address":"10.0.0.1","port":80}]}'
        for body in (
            {"ID": "web-1", "Name": "web", "Address": "10.0.0.1", "Port": 80, "Tags": ["v1"], "Check": {}},
            {"service": {"id": "web-1", "name": "web", "address": "10.0.0.1", "port": 80}},
            {"services": [{"id": "web-1", "name": "web", "address": "10.0.0.1", "port": 80}]},
            {"Node": "n", "Address": "10.0.0.1", "Service": {"ID": "web-1", "Service": "web", "Port": 80}},
        ):
            told = refusal(body)
            self.assertIn("Consul", told)
            self.assertIn(wanted, told)
        self.assertIn('"name":"web"', refusal({"Name": "web", "Port": 80}))

    def test_limits(self) -> None:
        """A registration holds as much as its limits say and not one more, and is told which limit that is."""
        limits = fields.RegistrationLimits(nodes=3, endpoints=2, values=60)

        def register(**members: object) -> None:
            body = json.dumps({"name": "a", **members}, separators=(",", ":")).encode()
            services.decode(body, "register", str, limits)

        nodes = [{"id": f"a-{number}", "address": "h:1"} for number in range(4)]
        endpoints = [{"name": f"E.{number}"} for number in range(3)]
        register(nodes=nodes[:3], endpoints=endpoints[:2])
        for members, word in (
            ({"nodes": nodes}, "nodes: 4"),
            ({"Nodes": nodes}, "Nodes: 4"),
            ({"nodes": nodes[:1], "endpoints": endpoints}, "endpoints: 3"),
            ({"nodes": nodes[:1], "x": [1] * 60}, "60 JSON values"),
            ({"nodes": nodes[:1], "x": [[[]]] * 20}, "60 JSON values"),
        ):
            with self.assertRaises(TooLarge) as caught:
                register(**members)
            self.assertIn(word, str(caught.exception))

    def test_twins_are_found_in_linear_time(self) -> None:
        """An object of many keys, the last of them twice, is refused without comparing each with each."""
        keys = ",".join(f'"k{number}":1' for number in range(60_000))
        body = f'{{"name":"a",{keys},"k59999":1}}'.encode()
        with self.assertRaises(BadRequest) as caught:
            services.decode(body, "register", str, fields.RegistrationLimits(values=1_000_000))
        self.assertIn("k59999", str(caught.exception))
