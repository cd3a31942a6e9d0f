"""What services tell each other over NATS."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import MalformedRecord
from sidecar.test.contracts.registry import a_service
from sidecar.wire import services
from sidecar.wire.registry import nats as wire

SERVICE = a_service("say", nodes=2)

JSON = st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode)


class Codec(SynchronousTestCase):
    def test_query(self) -> None:
        """Questions go out on both subjects, a ``get`` always with a service; the newer form is no copy."""
        for name in ("say", None):
            said = wire.query(name)
            self.assertEqual(tuple(subject for subject, _ in said), wire.QUERY)
            for _, body in said:
                told = json.loads(body)
                self.assertEqual(told["Action"], "list" if name is None else "get")
                self.assertEqual(told["Service"] and told["Service"]["name"], name)
            self.assertEqual([wire.decode_query(body) for _, body in said], [None, wire.Query(name)])

    def test_broadcast(self) -> None:
        """A change comes back as it was; of the two forms one counts."""
        for action, gone in (("create", False), ("delete", True)):
            said = wire.broadcast(action, SERVICE)  # type: ignore[arg-type]  # one of the two
            self.assertEqual(tuple(subject for subject, _ in said), wire.WATCH)
            read = [wire.decode_broadcast(body) for _, body in said]
            self.assertEqual(read, [None, wire.Broadcast(gone, SERVICE)])

    def test_answer(self) -> None:
        """An answer is the service as Go writes it: lower-case keys, addresses joined."""
        told = json.loads(wire.answer(SERVICE))
        self.assertEqual(told["nodes"][0]["address"], SERVICE.nodes[0].hostport)
        self.assertEqual(wire.decode_answer(wire.answer(SERVICE)), SERVICE)

    def test_malformed(self) -> None:
        """What is none of these is refused in words."""
        bodies: list[Any] = [[], 3, None, {}, {"Action": 3}, {"Action": "get"}, {"Action": "get", "Service": {}}]
        for body in bodies:
            self.assertRaises(MalformedRecord, wire.decode_query, json.dumps(body).encode())
        for body in ({"Action": "create"}, {"Action": "dance", "Service": services.to_go_json(SERVICE)}):
            self.assertRaises(MalformedRecord, wire.decode_broadcast, json.dumps(body).encode())
        self.assertIsNone(wire.decode_query(b'{"Action":"dance"}'))

    @given(st.binary(max_size=100) | JSON)
    @settings(max_examples=200, deadline=None)
    def test_noise(self, body: bytes) -> None:
        """Noise is refused as such."""
        for decode in (wire.decode_query, wire.decode_broadcast, wire.decode_answer):
            self.assertTrue(refusal(decode, body))


def refusal(decode: Callable[[bytes], object], body: bytes) -> str:
    """Why ``body`` is refused, "taken" where it is not."""
    try:
        decode(body)
    except MalformedRecord as error:
        return str(error)
    return "taken"
