"""Patterns, the file of roles, and whose a registration is."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import ConfigError, Conflict, Forbidden
from sidecar.model import Caller, Node, Service
from sidecar.web.access import rolefile
from sidecar.web.access.grants import Grant, check_service, check_topic, matches
from sidecar.web.access.ownership import Ownership


class GrantTests(SynchronousTestCase):
    def test_patterns(self) -> None:
        """A star is any text, all else is itself."""
        for pattern, name, good in (
            ("shop.*", "shop.cart", True),
            ("shop.*", "shop", False),
            ("shop.*", "shopXcart", False),
            ("*", "a.b", True),
            ("a*c", "abbc", True),
            ("shop", "shop.cart", False),
        ):
            self.assertEqual(matches((pattern,), name), good, (pattern, name))

    def test_checks(self) -> None:
        """What the patterns do not hold is refused; without patterns all may be used."""
        caller = Grant("web", frozenset({"call"}), ("shop.*",), ("news",)).caller("", "token")
        check_service(caller, "call", "shop.x")
        check_topic(caller, "publish", "news")
        self.assertRaises(Forbidden, check_service, caller, "call", "bank")
        self.assertRaises(Forbidden, check_topic, caller, "publish", "olds")
        check_service(Caller(), "call", "bank")


class RolesTests(SynchronousTestCase):
    def test_read(self) -> None:
        """Users, groups and names of certificates have a table each, or their roles alone."""
        found = rolefile.parse(
            '"gid:5" = ["read"]\n["uid:1000"]\nroles = ["call"]\nservices = ["a.*"]\n["san:uri:spiffe://x/y"]\nroles="admin"\n',
            "f",
        )
        self.assertEqual(list(found), ["gid:5", "uid:1000", "san:uri:spiffe://x/y"])
        self.assertEqual(found["uid:1000"], Grant("uid:1000", frozenset({"call"}), ("a.*",)))

    def test_faults(self) -> None:
        """A fault names its line's subject."""
        for text, word in (
            ('"user:x" = ["read"]', "user:x"),
            ('"uid:1" = ["king"]', "king"),
            ('"uid:1" = []', "no role"),
            ('["uid:1"]\nroles=["read"]\nfoo=1', "foo"),
            ("[[", "f"),
        ):
            self.assertIn(word, str(self.assertRaises(ConfigError, rolefile.parse, text, "f")))


class OwnershipTests(SynchronousTestCase):
    def test_of_others(self) -> None:
        """Another cannot take over or take out a node while its registration lives; its owner and admin can."""
        clock = Clock()
        ownership = Ownership(clock.seconds)
        service = Service("shop", nodes=(Node("shop-1", "127.0.0.1", 1),))
        one, two = (Caller(name, frozenset({"register"})) for name in ("one", "two"))
        ownership.registered(service, 10.0, one)
        ownership.check_register(service, one)
        ownership.check_deregister(service, one)
        self.assertIn("one", str(self.assertRaises(Conflict, ownership.check_register, service, two)))
        self.assertRaises(Forbidden, ownership.check_deregister, service, two)
        ownership.check_deregister(service, Caller("boss"))
        clock.advance(11)
        ownership.check_register(service, two)
        ownership.registered(service, None, two)
        ownership.deregistered(service)
        ownership.check_register(service, one)
