"""Who asks is known by what they show, and may do what their roles are for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from sidecar.model import Caller
from sidecar.test.doubles.clients.http import Client
from sidecar.test.doubles.clients.resources import Asking, Heard
from sidecar.web.access import tokenfile
from sidecar.web.access.grants import Grant
from sidecar.web.access.tokenfile import Token, digest_of
from sidecar.web.access.watched import WatchedFile
from sidecar.web.auth import caller_of
from sidecar.web.operations.policy import AccessPolicy
from sidecar.web.operations.ticket import TicketResource
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json
from sidecar.web.tree import build_tree

NOW = 1_800_000_000.0


class Open:
    """A CORS policy that says nothing."""

    def apply(self, request: object) -> None:
        """Set nothing."""


def token(name: str, *roles: str, **more: Any) -> Token:
    """A token whose text is its name."""
    return Token(Grant(name, frozenset(roles), **more), digest_of(name.encode()))


class Gateway(Resource):
    """Answers for all services."""

    isLeaf = True
    route = b"/{service}/{method}"
    takes_options = False

    def claim(self, request: Request, fixed: bool) -> Gateway | None:
        return None if fixed else self

    def render(self, request: Request) -> bytes:
        return b"called"


class PolicyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.tokens = (token("reader", "read"), token("boss", "admin"), token("old", "read", expires=NOW - 1))
        tokenfile.write(str(self.path), self.tokens)
        self.clock = Clock()
        self.policy = AccessPolicy(self.clock.seconds, lambda: NOW, WatchedFile(str(self.path), tokenfile.read))
        self.seen: list[tuple[Caller, dict[bytes, bytes], bytes]] = []
        page = MethodResource({"GET": self.page, "POST": self.page, "DELETE": self.page})
        tree = build_tree(
            cors=Open(),
            registry=page,
            rpc=page,
            broker=page,
            health=page,
            access=self.policy,
            gateway=Gateway(),
            more={"/ticket": TicketResource(self.policy, lambda: NOW)},
            stats=page,
            dashboard=page,
        )
        self.asking = Asking(tree)

    def page(self, request: Request) -> Answer:
        self.seen.append((caller_of(request), dict(request.requestHeaders.getAllRawHeaders()), request.uri))
        return of_json({})

    def ask(self, method: str, target: str, token: str = "", **headers: str) -> Heard:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            fields["Authorization"] = f"Bearer {token}"
        return self.asking.ask(method, target, headers=fields)

    def test_services_by_path(self) -> None:
        """Whoever calls by path needs the role ``call``, with every method."""
        for method in ("POST", "GET", "BREW"):
            self.assertEqual(self.ask(method, "/greeter/say/hello").status, 401, method)
            self.assertEqual(self.ask(method, "/greeter/say/hello", "reader").status, 403, method)
            self.assertEqual(self.ask(method, "/greeter/say/hello", "boss").body, b"called", method)

    def test_nobody(self) -> None:
        """Who shows nothing gets 401 and how to show something; /health is open."""
        heard = self.ask("GET", "/registry")
        self.assertEqual(heard.status, 401)
        self.assertEqual(heard.headers["www-authenticate"], 'Bearer realm="microsidecar"')
        self.assertEqual(self.ask("GET", "/health").status, 200)
        for target in ("/re%67istry", "/registry/", "http://x/registry"):
            self.assertEqual(self.ask("GET", target).status, 401, target)

    def test_page(self) -> None:
        """A browser gets the dashboard and its parts without a token, since they hold nothing; the numbers need one."""
        self.assertEqual(self.ask("GET", "/stats", Accept="text/html,*/*;q=0.8").status, 200)
        self.assertEqual(self.ask("GET", "/stats/app/main.js").status, 200)
        for headers in (
            {},
            {"Accept": "*/*"},
            {"Accept": "application/json"},
            {"Accept": "text/html, application/json"},
        ):
            self.assertEqual(self.ask("GET", "/stats", **headers).status, 401, headers)
        self.assertEqual(self.ask("GET", "/stats", Accept="text/html", Content_Type="application/json").status, 401)
        self.assertEqual(self.ask("GET", "/stats", "reader", Accept="application/json").status, 200)

    def test_the_same_header_again(self) -> None:
        """Who shows the same token on a kept connection is let in each time, and it goes no further."""
        client = Client(self.asking.site)
        for _ in range(3):
            client.send(b"GET /registry HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer boss\r\n\r\n")
        self.assertEqual([caller.name for caller, _, _ in self.seen], ["boss"] * 3)
        for _, headers, _ in self.seen:
            self.assertNotIn(b"Authorization", headers)

    def test_roles(self) -> None:
        """A role is for what it says; 403 names the one that is missing; admin has all."""
        for method, target, role in (
            ("GET", "/registry", "read"),
            ("POST", "/registry", "register"),
            ("DELETE", "/registry", "register"),
            ("POST", "/rpc", "call"),
            ("POST", "/broker?topic=x", "publish"),
            ("GET", "/broker?topic=x", "subscribe"),
        ):
            status = self.ask(method, target, "reader").status
            self.assertEqual(status, 200 if role == "read" else 403, target)
            if role != "read":
                self.assertIn(f"role {role}", self.ask(method, target, "reader").error[1])
            self.assertEqual(self.ask(method, target, "boss").status, 200)

    def test_methods_without_a_role(self) -> None:
        """A method that is served and stands in no table is the administrator's; one that is not served is a 405."""
        self.assertEqual(self.ask("DELETE", "/rpc", "reader").status, 403)
        self.assertEqual(self.ask("PATCH", "/rpc", "reader").status, 405)

    def test_unknown_and_expired(self) -> None:
        """What is not good is 401 with the reason, whatever else is wrong with it."""
        for shown, why in (("nobody", "not known"), ("old", "expired")):
            heard = self.ask("GET", "/registry", shown)
            self.assertEqual(heard.status, 401)
            self.assertIn('error="invalid_token"', heard.headers["www-authenticate"])
            self.assertIn(why, heard.error[1])

    def test_what_goes_on(self) -> None:
        """Our token is not seen behind us; any other Authorization is, where the token came another way."""
        self.ask("GET", "/registry", "reader")
        self.ask("GET", "/registry", "the app's", Micro_Sidecar_Token="reader")
        self.ask("GET", "/registry", "boss", Micro_Sidecar_Token="reader")
        self.ask("GET", "/registry", Sec_WebSocket_Protocol="micro, micro-token.reader")
        for caller, fields, _ in self.seen:
            self.assertEqual((caller.name, caller.authenticated_by), ("reader", "token"))
            self.assertNotIn(b"Micro-Sidecar-Token", fields)
        kept = [fields.get(b"Authorization") for _, fields, _ in self.seen]
        self.assertEqual(kept, [None, [b"Bearer the app's"], None, None])

    def test_tickets(self) -> None:
        """A ticket is good once, for a minute, for whom it was given to, and is not in the URL that resources see."""
        self.assertEqual(self.ask("POST", "/ticket").status, 401)
        first, second = (self.ask("POST", "/ticket", "reader").json["ticket"] for _ in range(2))
        self.assertEqual(self.ask("GET", f"/registry?a=b&ticket={first}").status, 200)
        self.assertEqual((self.seen[-1][0].name, self.seen[-1][2]), ("reader", b"/registry?a=b"))
        self.assertEqual(self.ask("GET", f"/registry?ticket={first}").status, 401)
        self.clock.advance(61)
        self.assertEqual(self.ask("GET", f"/registry?ticket={second}").status, 401)

    def test_changes(self) -> None:
        """The file is read again when it changes; one that is no good leaves the old in use."""
        tokenfile.write(str(self.path), self.tokens[1:])
        self.assertEqual(self.ask("GET", "/registry", "reader").status, 401)
        self.path.write_text("[[token]\n")
        self.assertEqual(self.ask("GET", "/registry", "boss").status, 200)
        self.assertEqual(self.ask("GET", "/registry", "reader").status, 401)
        tokenfile.write(str(self.path), self.tokens)
        self.assertEqual(self.ask("GET", "/registry", "reader").status, 200)

    def test_failures(self) -> None:
        """Failures are counted, and beyond a few get 429; who shows a good token is let in all the same."""
        statuses = [self.ask("GET", "/registry", "wrong").status for _ in range(12)]
        self.assertEqual(statuses, [401] * 10 + [429] * 2)
        self.assertEqual(self.ask("GET", "/registry", "reader").status, 200)
        self.assertEqual(self.policy.stats(), {"failed": 12, "limited": 2, "denied": 0})
        self.clock.advance(5)
        self.assertEqual(self.ask("GET", "/registry", "wrong").status, 401)


class FileTests(SynchronousTestCase):
    def test_back_and_forth(self) -> None:
        """What is written is what is read, and is its owner's alone."""
        path = self.mktemp()
        tokens = (
            token("web", "call", "read", services=("shop.*",), topics=('a"\\b', "ü"), expires=NOW),
            token("x", "admin"),
        )
        tokenfile.write(path, tokens)
        self.assertEqual(tokenfile.read(path), tokens)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_found(self) -> None:
        """A token is found by its text alone."""
        tokens = (token("a", "read"), token("b", "read"))
        self.assertEqual(tokenfile.find(tokens, b"b"), tokens[1])
        self.assertIsNone(tokenfile.find(tokens, b"c"))
        self.assertNotEqual(evolve(tokens[0], digest=b""), tokens[0])
