"""Endpoints as a flag names them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.wire.endpoints import declared


def told(text: str) -> list[tuple[str, dict[str, str]]]:
    return [(each.name, dict(each.metadata)) for each in declared.read(text)]


class Declared(SynchronousTestCase):
    def test_one(self) -> None:
        """A name alone, and one with metadata, whose example is JSON as it was written."""
        self.assertEqual(told("Say.Hello"), [("Say.Hello", {})])
        self.assertEqual(
            told('Say.Hello;description=Greets;example={"name":"John"};scopes=public'),
            [("Say.Hello", {"description": "Greets", "example": '{"name":"John"}', "scopes": "public"})],
        )

    def test_values(self) -> None:
        """JSON may hold what parts the others; text goes up to the next key, with commas and semicolons in it."""
        self.assertEqual(
            told('Say.Hello;example={"a":"x;b=c,Say.Bye","n":[1,2]};description=Well, yes; and no; scopes=a,b'),
            [
                (
                    "Say.Hello",
                    {
                        "example": '{"a":"x;b=c,Say.Bye","n":[1,2]}',
                        "description": "Well, yes; and no",
                        "scopes": "a,b",
                    },
                )
            ],
        )
        self.assertEqual(
            told("Say.Hello;example={name: John};stream=true")[0][1], {"example": "{name: John}", "stream": "true"}
        )

    def test_several(self) -> None:
        """A flag that is given several times is a list, as is an environment variable."""
        self.assertEqual(
            told('Say.Hello;example={"a":1},Say.Bye,Say.Count;scopes=read,write;stream=true, Say.Last'),
            [
                ("Say.Hello", {"example": '{"a":1}'}),
                ("Say.Bye", {}),
                ("Say.Count", {"scopes": "read,write", "stream": "true"}),
                ("Say.Last", {}),
            ],
        )

    def test_refused(self) -> None:
        """What is no name, what is no metadata, and what is given twice."""
        for text in ("Hello", ";a=b", "Say.Hello;what", "Say.Hello,Say.Hello", "Say Hello", "=", "."):
            with self.assertRaises(ValueError, msg=text):
                declared.read(text)
