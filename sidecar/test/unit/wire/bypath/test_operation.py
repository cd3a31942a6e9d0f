"""Calls of operations that have a path and a verb of their own."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import BadRequest
from sidecar.wire.bypath import operation
from sidecar.wire.bypath.operation import Operation

GET = {"path": "/pets/{id}", "verb": "GET", "query": "full"}


class Calls(SynchronousTestCase):
    def test_ordinary(self) -> None:
        """An endpoint without a path is called as any other."""
        self.assertIsNone(operation.of({"description": "x"}, b"{}"))

    def test_get(self) -> None:
        """Members go into the path and the query; lists are repeated, null is nothing."""
        self.assertEqual(
            operation.of(GET, b'{"id":"a/b c","full":true,"tag":["x","y&z"],"no":null}'),
            Operation("GET", "/pets/a%2Fb%20c?full=true&tag=x&tag=y%26z", b""),
        )
        self.assertEqual(operation.of({"path": "/pets", "verb": "GET"}, b"null"), Operation("GET", "/pets", b""))

    def test_with_a_body(self) -> None:
        """What is neither in the path nor in the query stays in the body; without either the bytes stay as they are."""
        self.assertEqual(
            operation.of(
                {**GET, "verb": "PUT"}, '{"id":7,"full":false,"name":"ü","big":12345678901234567890}'.encode()
            ),
            Operation("PUT", "/pets/7?full=false", '{"name": "ü", "big": 12345678901234567890}'.encode()),
        )
        self.assertEqual(
            operation.of({"path": "/pets", "verb": "POST"}, b'{"a": 1}'), Operation("POST", "/pets", b'{"a": 1}')
        )

    def test_refused(self) -> None:
        """What the path needs and the request lacks, and what cannot go there."""
        for request in (b"{}", b'{"id":null}', b"[1]", b"{", b"7"):
            self.assertRaises(BadRequest, operation.of, GET, request)
        self.assertRaises(BadRequest, operation.of, GET, b"\x08\x01", False)
        self.assertRaises(BadRequest, operation.by_path, "/a", "BREW", b"{}")

    def test_by_path(self) -> None:
        """A path as it is: POST unless another verb is wanted."""
        self.assertEqual(operation.by_path("/user/login", "", b'{"a":1}'), Operation("POST", "/user/login", b'{"a":1}'))
        self.assertEqual(operation.by_path("/u?x=1", "get", b'{"a":1}'), Operation("GET", "/u?x=1&a=1", b""))
