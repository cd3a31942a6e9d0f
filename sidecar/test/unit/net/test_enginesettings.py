"""Addresses of engines: one reading for all, and no secret in what is said of a bad one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.amqp import access as amqp
from sidecar.net.errors import InvalidSetting
from sidecar.net.nats import access as nats
from sidecar.net.redis import access as redis

#: How each engine's addresses are read, its own scheme, and its own port.
ENGINES: tuple[tuple[Callable[[str], Any], str, int], ...] = (
    (amqp.parse_address, "amqp", 5672),
    (nats.parse_address, "nats", 4222),
    (redis.parse_address, "redis", 6379),
)


class Addresses(SynchronousTestCase):
    def test_good(self) -> None:
        """Bare, with a port, an IPv6 literal, a URL with a user whose password has escapes."""
        for parse, scheme, usual in ENGINES:
            for text, expected in (
                ("h", ("h", usual, "", "")),
                ("h:1", ("h", 1, "", "")),
                ("[::1]:1", ("::1", 1, "", "")),
                ("my_engine", ("my_engine", usual, "", "")),
                (f"{scheme}://u:p%40ss@h/", ("h", usual, "u", "p@ss")),
            ):
                read = parse(text)
                self.assertEqual((read.host, read.port, read.username, read.password), expected, f"{scheme} {text}")
                self.assertNotIn("p@ss", repr(read))

    def test_bad(self) -> None:
        """Each is refused by its name, and what may be a password is not shown."""
        for parse, scheme, _ in ENGINES:
            for text in ("", "h:0", "h:99999", "h:x", "[::1", "ftp://h", "h?a=b", "h#f", "h/a/b", f"{scheme}://"):
                refused = self.assertRaises(InvalidSetting, parse, text)
                self.assertIn(repr(text.rpartition("@")[2]), str(refused))
                refused = self.assertRaises(InvalidSetting, parse, f"ftp://u:secret@{text.rpartition('/')[2]}")
                self.assertNotIn("secret", str(refused))
