"""A document of endpoints, in go-micro's form and in OpenAPI's."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Endpoint, Value
from sidecar.wire.endpoints import document
from sidecar.wire.fields import RegistrationLimits

HELLO = Endpoint(
    "Say.Hello",
    Value("Request", "Request", (Value("name", "string"),)),
    Value("Response", "Response", (Value("msg", "string"),)),
    {"description": "Greets"},
)
GO: list[dict[str, Any]] = [
    {
        "name": "Say.Hello",
        "request": {
            "name": "Request",
            "type": "Request",
            "values": [{"name": "name", "type": "string", "values": None}],
        },
        "response": {"name": "Response", "type": "Response", "values": [{"name": "msg", "type": "string"}]},
        "metadata": {"description": "Greets"},
    }
]
PET: dict[str, Any] = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
}


def content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


OPENAPI: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "pets", "version": "1"},
    "paths": {
        "/Say/Hello": {
            "post": {
                "summary": "Greets",
                "requestBody": content({"$ref": "#/components/schemas/Name"}),
                "responses": {"200": content({"title": "Greeting", "properties": {"msg": {"type": "string"}}})},
            }
        },
        "/pets/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "format": "int32"}}
            ],
            "get": {
                "operationId": "getPet",
                "summary": "Finds\n a pet",
                "parameters": [{"name": "full", "in": "query", "schema": {"type": "boolean"}}],
                "responses": {"200": content({"$ref": "#/components/schemas/Pet"}), "404": {"description": "none"}},
            },
            "put": {"operationId": "putPet", "requestBody": content({"$ref": "#/components/schemas/Pet"})},
            "delete": {"responses": {}},
        },
        "/pets": {"get": {"operationId": "listPets", "responses": {"200": content({"type": "array", "items": PET})}}},
    },
    "components": {
        "schemas": {
            "Name": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
            },
            "Pet": {**PET, "properties": {**PET["properties"], "mother": {"$ref": "#/components/schemas/Pet"}}},
        }
    },
}


class Document(SynchronousTestCase):
    def test_go(self) -> None:
        """go-micro's list, keys in any case, alone or in a whole service."""
        for said in (GO, {"name": "foo", "endpoints": GO}, [{"Name": "Say.Hello", **GO[0]}]):
            if isinstance(said, list) and "Name" in said[0]:
                said = [{key.title(): value for key, value in GO[0].items()}]
            self.assertEqual(document.read(json.dumps(said).encode()), (HELLO,))

    def test_openapi(self) -> None:
        """Names, shapes, descriptions, and the path and verb of what is no POST to /<Type>/<Method>."""
        found = {each.name: each for each in document.read(b"\xef\xbb\xbf" + json.dumps(OPENAPI).encode())}
        self.assertEqual(sorted(found), ["Say.Hello", "getPet", "listPets", "putPet"])
        hello = found["Say.Hello"]
        self.assertEqual(hello.request, Value("Name", "Name", (Value("name", "string"), Value("age", "int64"))))
        self.assertEqual(hello.response, Value("Greeting", "Greeting", (Value("msg", "string"),)))
        self.assertEqual(dict(hello.metadata), {"description": "Greets"})
        get = found["getPet"]
        self.assertEqual(
            dict(get.metadata),
            {"path": "/pets/{id}", "verb": "GET", "query": "full", "description": "Finds a pet"},
        )
        self.assertEqual(
            get.request, Value("getPetRequest", "getPetRequest", (Value("id", "int32"), Value("full", "bool")))
        )
        pet = (Value("id", "int64"), Value("tags", "[]string"))
        assert get.response is not None
        self.assertEqual((get.response.name, get.response.values[:2]), ("Pet", pet))
        self.assertEqual(get.response.values[2].type, "Pet")  # and it ends somewhere
        self.assertEqual(found["listPets"].response, Value("listPetsResponse", "[]listPetsResponse", pet))

    def test_refused(self) -> None:
        """What is neither form is told in words, and so is too much."""
        many = [{"name": f"A.B{number}"} for number in range(3)]
        for body, words in (
            (b"", "not JSON"),
            (b"openapi: 3.0.0\npaths: {}\n", "YAML"),
            (b"7", "neither a list"),
            (b'{"a":1}', "neither a list"),
            (b'{"openapi":"2.0","paths":{}}', "version 3"),
            (b'{"openapi":"3.0.0"}', "no paths"),
            (b'[{"name":7}]', "name"),
            (json.dumps([GO[0], GO[0]]).encode(), "twice"),
            (json.dumps(many).encode(), "2 is the limit"),
        ):
            with self.assertRaises(ValueError) as caught:
                document.read(body, RegistrationLimits(endpoints=2))
            self.assertIn(words, str(caught.exception))
