"""OpenAPI documents that are odd."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.wire.endpoints import openapi


class Odd(SynchronousTestCase):
    def test_nonsense_is_left_out(self) -> None:
        """Parts that mean nothing, references to nothing and to themselves: what can be read is."""
        paths: dict[str, Any] = {
            "/Say/Hello": {"post": {"requestBody": {"$ref": "#/nowhere"}, "responses": []}, "get": 7, "parameters": {}},
            "/a": None,
            "b": {"get": {"operationId": "b"}},
            "/c": {"get": {"operationId": "has space"}},
            "/d": {"$ref": "#/paths/~1d"},
            "/e": {"patch": {"operationId": "e", "requestBody": {"content": {"application/json": []}}}},
        }
        found = openapi.endpoints({"openapi": "3.0.3", "paths": paths})
        self.assertEqual([each.name for each in found], ["Say.Hello", "e"])

    def test_of_a_path_with_two_verbs(self) -> None:
        """The POST has the name of the path, the others go by their operation id."""
        item = {"get": {"operationId": "look"}, "post": {"operationId": "hello"}}
        found = openapi.endpoints({"openapi": "3.0.3", "paths": {"/Say/Hello": item, "/Say/Bye": {"get": {}}}})
        self.assertEqual(
            [(each.name, each.metadata.get("verb")) for each in found],
            [("Say.Hello", None), ("look", "GET"), ("Say.Bye", "GET")],
        )
