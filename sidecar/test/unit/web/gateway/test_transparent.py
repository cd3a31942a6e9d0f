"""``POST /`` as go-micro clients send it to their proxy, over real sockets to the nodes."""

from __future__ import annotations

import json
from typing import Any

from sidecar.model import CallPolicy
from sidecar.test.doubles.clients.resources import Heard
from sidecar.test.unit.web.test_rpc import MAX_BODY, Calls
from sidecar.web.gateway.transparent import TransparentResource
from sidecar.web.response import Answer

#: What v4.11's client sends, but for its User-Agent.
GO = {"Micro-Service": "foo", "Micro-Endpoint": "Say.Echo", "Micro-Method": "Say.Echo", "Micro-Id": "7"}


class ByGoClients(Calls):
    def resource(self, policy: CallPolicy) -> Any:
        return TransparentResource(lambda _: Answer(b"index"), self.client, policy, MAX_BODY, self.apps)

    async def ask(self, body: bytes = b"{}", kind: str = "application/json", **more: str) -> Heard:
        fields = {**GO, **{name.replace("_", "-"): value for name, value in more.items()}, "Content-Type": kind}
        waiting = self.asking.begin("POST", "/", body, {name: text for name, text in fields.items() if text})
        return await self.answer(waiting)

    def fault(self, heard: Heard) -> Any:
        """The error in an answer, which has the form that Go's clients read."""
        self.assertEqual(heard.status, 200)
        self.assertEqual(heard.headers["micro-error"], heard.headers["x-micro-error"])
        found = json.loads(heard.headers["micro-error"])
        # What calls itself JSON is JSON, for whoever does not know that header.
        self.assertEqual(json.loads(heard.body), found)
        return found

    async def test_bare_json(self) -> None:
        """The body is the request, the answer is the bare result; ids are echoed."""
        self.start()
        heard = await self.ask(b'{"name":"John"}', X_Colour="red", Timeout="5000000000")
        self.assertEqual((heard.status, heard.body), (200, b'{"name":"John"}'))
        self.assertEqual(heard.headers["content-type"], "application/json")
        self.assertEqual((heard.headers["micro-id"], heard.headers["micro-service"]), ("7", "foo"))
        self.assertEqual(self.services[0].heard[0].headers["X-Colour"], "red")

    async def test_old_names_and_envelopes(self) -> None:
        """The X- twins count where the others are missing; an envelope is answered by one, stream id or not."""
        self.start()
        none = {"Micro_Service": "", "Micro_Endpoint": "", "Micro_Method": ""}
        old = {"X_Micro_Service": "foo", "X_Micro_Method": "Say.Echo"}
        self.assertEqual((await self.ask(b"[1]", **none, **old)).body, b"[1]")
        envelope = b'{"method":"Say.Echo","params":[{"a":1}],"id":3}'
        heard = await self.ask(envelope, "application/json-rpc", Micro_Stream="7")
        self.assertEqual(heard.json, {"id": 3, "result": {"a": 1}, "error": None})

    async def test_errors(self) -> None:
        """The service's own, an unknown service, a deadline: 200, and ``Micro-Error``."""
        self.start()
        fault = self.fault(await self.ask(Micro_Endpoint="Say.Fail"))
        self.assertEqual((fault["id"], fault["code"], fault["detail"]), ("srv.say", 400, "bad John"))
        self.assertEqual(self.fault(await self.ask(Micro_Service="nope"))["code"], 404)
        self.assertEqual(self.fault(await self.ask(Micro_Endpoint="Say.Hang", Timeout="20000000"))["code"], 504)
        self.assertEqual(self.fault(await self.ask(Timeout="soon"))["code"], 400)

    async def test_what_is_no_call(self) -> None:
        """A stream, a message and a call without a service get ``Micro-Error``, at once."""
        cases: tuple[tuple[dict[str, Any], int, str], ...] = (
            ({"Micro_Stream": "7"}, 501, "/rpc/stream"),
            ({"Micro_Error": "EOS"}, 501, "/rpc/stream"),
            ({"Micro_Topic": "news"}, 400, "/broker"),
            ({"Micro_Service": ""}, 400, "Micro-Service"),
            ({"Micro_Endpoint": "", "Micro_Method": ""}, 400, "Micro-Endpoint"),
        )
        for fields, code, words in cases:
            fault = self.fault(await self.ask(**fields))
            self.assertEqual(fault["code"], code, fields)
            self.assertIn(words, fault["detail"])

    async def test_unknown_content_types(self) -> None:
        """Are told in Go's own words."""
        heard = await self.ask(b"<a/>", "text/xml")
        self.assertEqual((heard.status, heard.body), (200, b"unsupported Content-Type: text/xml"))
        self.assertEqual(heard.headers["content-type"], "text/plain")

    async def test_receipts(self) -> None:
        """Are given to who asks for one."""
        self.start()
        self.assertIn("foo-1", (await self.ask(Micro_Explain="1")).headers["micro-receipt"])

    def test_others(self) -> None:
        """A GET gets the index; a POST that names nothing is 405."""
        self.assertEqual(self.asking.ask("GET", "/").body, b"index")
        heard = self.asking.ask("POST", "/", b"{}")
        self.assertEqual((heard.status, heard.headers["allow"]), (405, "GET, HEAD, OPTIONS"))
