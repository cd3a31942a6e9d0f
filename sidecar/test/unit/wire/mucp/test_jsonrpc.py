"""What the answers of all generations mean, by answers as they were recorded from them."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadAnswer, ServiceFault
from sidecar.model import Fault
from sidecar.wire.mucp import jsonrpc, protorpc

VECTORS = files("sidecar.test") / "vectors" / "rpc"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


def headers(lines: list[str]) -> jsonrpc.Header:
    found = {}
    for line in lines:
        name, _, value = line.partition(":")
        found[name.lower().encode()] = value.strip().encode()
    return found.get


class Answers(SynchronousTestCase):
    def test_recorded(self) -> None:
        """Each recorded answer is the result, the service's error, or no answer, as it should be."""
        for vector in vectors("answers.json"):
            name, body, header = vector["name"], vector["body"].encode(), headers(vector["head"])

            def read(vector: Any = vector, body: bytes = body, header: jsonrpc.Header = header) -> tuple[bytes, bool]:
                if vector["status"] != 200:
                    raise jsonrpc.refused(vector["status"], body)
                return jsonrpc.result(body, b"7", header)

            if "fault" in vector:
                with self.assertRaises(ServiceFault) as caught:
                    read()
                self.assertEqual(caught.exception.fault, Fault(**vector["fault"]), name)
            elif "bad" in vector:
                with self.assertRaises(BadAnswer) as bad:
                    read()
                self.assertIn(vector["bad"], str(bad.exception), name)
            else:
                self.assertEqual(read(), (vector["result"].encode(), vector["echoed"]), name)

    @given(st.binary(max_size=80))
    @settings(deadline=None)
    def test_noise(self, body: bytes) -> None:
        """Whatever a node sends, it is a result, a fault or no answer."""
        try:
            jsonrpc.result(body, b"7", headers([]))
        except (BadAnswer, ServiceFault):
            pass
        try:
            protorpc.result(body, headers([]))
        except (BadAnswer, ServiceFault):
            pass

    def test_words_are_bounded(self) -> None:
        """A node's long page does not become a long error."""
        self.assertLess(len(jsonrpc.refused(500, b"x" * 100_000).fault.detail), 3000)


class Requests(SynchronousTestCase):
    @given(st.text(max_size=20))
    @settings(deadline=None)
    def test_json(self, method: str) -> None:
        """The envelope holds exactly one parameter, and the method as JSON, whatever it is made of."""
        method = re.sub(r"[\ud800-\udfff]", "", method)
        whole = jsonrpc.opening(method) + b'{"a":1}' + jsonrpc.closing(b"7")
        self.assertEqual(json.loads(whole), {"method": method, "params": [{"a": 1}], "id": 7})

    def test_protobuf(self) -> None:
        """The protobuf envelope is read and written byte for byte as Go does it."""
        for vector in vectors("protorpc.json"):
            raw, name = bytes.fromhex(vector["hex"]), vector["name"]
            if "request" in vector:
                asked = vector["request"]
                payload = bytes.fromhex(asked["payload"])
                self.assertEqual(protorpc.request(asked["method"], asked["sequence"], payload), raw, name)
            elif "error" in vector:
                with self.assertRaises(ServiceFault) as caught:
                    protorpc.result(raw, headers([]))
                self.assertEqual(caught.exception.fault.detail, vector["error"], name)
            elif "bad" in vector:
                with self.assertRaises(BadAnswer, msg=name):
                    protorpc.result(raw, headers([]))
            else:
                self.assertEqual(protorpc.result(raw, headers([])), bytes.fromhex(vector["payload"]), name)

    def test_protobuf_error_in_header(self) -> None:
        """An empty body with the error in a header is the error, also where the payload is opaque."""
        with self.assertRaises(ServiceFault) as caught:
            protorpc.result(b"", headers(['Micro-Error: {"id":"a","code":409,"detail":"d","status":"Conflict"}']))
        self.assertEqual(caught.exception.fault, Fault("a", 409, "d", "Conflict"))
