"""What registries need of a connection to NATS: the real client and the one in memory promise the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sidecar.net.errors import Unavailable
from sidecar.net.nats.client import Interest

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Case
else:
    _Case = object

Heard = list[tuple[str, str, bytes]]


class NatsLinkContract(_Case):
    """To be mixed into a ``TestCase`` that gives the two below."""

    def make_link(self) -> Any:
        """A client that does not hear itself, not started; the suite starts and stops it."""
        raise NotImplementedError

    async def until(self, check: Callable[[], Any]) -> None:
        """Let time pass until ``check`` gives something true."""
        raise NotImplementedError

    async def connected(self, *subjects: str) -> tuple[Any, Heard]:
        """A client that is connected and holds ``subjects``, and what it hears."""
        link, heard = self.make_link(), []
        for subject in subjects:
            link.subscribe(Interest(subject, lambda *message: heard.append(message)))
        link.startService()
        self.addCleanup(link.stopService)
        await link.first_attempt.wait()
        await self.until(lambda: link.connected)
        return link, heard

    async def test_states(self) -> None:
        """It says whether it is connected, and tells those who want to know; before that nothing is published."""
        link: Any = self.make_link()
        changes: list[bool] = []
        link.on_change(changes.append)
        self.assertEqual((link.connected, bool(link.detail)), (False, True))
        await self.assertFailure(link.publish("a.b", b""), Unavailable)
        link.startService()
        self.addCleanup(link.stopService)
        await self.until(lambda: changes)
        self.assertEqual((changes, link.connected, link.detail), ([True], True, ""))

    async def test_published(self) -> None:
        """What one publishes the others hear, by subjects and patterns, with the subject to reply to; it does not."""
        first, own = await self.connected("a.b")
        _, other = await self.connected("a.*", "c")
        await first.publish("a.b", b"one", "reply.to")
        await first.publish("c", b"two")
        await first.publish("d", b"for nobody")
        await self.until(lambda: len(other) == 2)
        self.assertEqual(sorted(other), [("a.b", "reply.to", b"one"), ("c", "", b"two")])
        self.assertEqual(own, [])

    async def test_order(self) -> None:
        """Messages come in the order in which they were published."""
        first, _ = await self.connected()
        _, other = await self.connected("a")
        for number in range(20):
            first.publish("a", b"%d" % number)
        await self.until(lambda: len(other) == 20)
        self.assertEqual([int(payload) for _, _, payload in other], list(range(20)))

    async def test_given_up(self) -> None:
        """Who gives a subject up hears no more of it."""
        first, _ = await self.connected()
        second, heard = await self.connected("b")
        gone: Heard = []
        interest = Interest("a", lambda *message: gone.append(message))
        await second.subscribe(interest)
        await second.unsubscribe(interest)
        await first.publish("a", b"1")
        await first.publish("b", b"2")
        await self.until(lambda: heard)
        self.assertEqual(gone, [])
