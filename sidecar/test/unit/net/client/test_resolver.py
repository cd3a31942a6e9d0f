"""Names are looked up without anybody waiting for a name that is not theirs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.client.resolver import AT_ONCE, FRESH, KEPT, REFUSED, SLOW, UNPROVEN, CachingResolver


class Reactor(Clock):
    """A clock to which threads come back at once."""

    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        function(*args)


class Asked:
    """Who asks. :ivar found: the addresses, None until it is told."""

    def __init__(self) -> None:
        self.found: list[str] | None = None
        self._coming: list[str] = []
        self.resolution: Any = None

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        self.resolution = resolutionInProgress

    def addressResolved(self, address: Any) -> None:
        self._coming.append(f"{address.host} {address.port}")

    def resolutionComplete(self) -> None:
        assert self.found is None, "told twice"
        self.found = self._coming


class ResolverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Reactor()
        self.known = {"app": ["10.0.0.1", "fd00::1"]}
        self.asked: list[str] = []
        self.threads: list[Callable[[], None]] = []
        self.silent = False
        self.resolver = CachingResolver(self.clock, self.getaddrinfo, self.threads.append)

    def getaddrinfo(self, host: str, port: None, type: int) -> Sequence[tuple[Any, ...]]:
        self.asked.append(host)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kinds = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in self.known[host]]
        return [(family, type, 6, "", (address, 0)) for family, address in kinds for _ in range(2)]

    def ask(self, name: str = "app", types: Sequence[type] | None = None) -> Asked:
        asked: Any = Asked()
        self.resolver.resolveHostName(asked, name, 80, types)
        found: Asked = asked
        return found

    def answer(self) -> None:
        """The name service answers all that was asked."""
        threads, self.threads[:] = list(self.threads), []
        for thread in threads:
            thread()

    def test_both_families(self) -> None:
        """Every address of both families, each once, with the port that was asked for."""
        asked = self.ask()
        self.assertIsNone(asked.found)
        self.answer()
        self.assertEqual(asked.found, ["10.0.0.1 80", "fd00::1 80"])
        self.assertEqual(self.ask(types=[IPv4Address]).found, ["10.0.0.1 80"])

    def test_unknown(self) -> None:
        """A name that is not known has no address, and is not asked for again at once."""
        asked = self.ask("nobody")
        self.answer()
        self.assertEqual((asked.found, self.ask("nobody").found, self.asked), ([], [], ["nobody"]))
        self.clock.advance(REFUSED)
        self.ask("nobody")
        self.assertEqual(len(self.threads), 1)

    def test_joined(self) -> None:
        """However many ask for a name, in whatever case, it is asked for once; who cancels hears nothing."""
        all_of_them = [self.ask(name) for name in ("app", "APP", "app")]
        all_of_them[1].resolution.cancel()
        self.assertEqual(len(self.threads), 1)
        self.answer()
        self.assertEqual([bool(asked.found) for asked in all_of_them], [True, False, True])

    def test_kept(self) -> None:
        """An answer serves for some seconds, and then is asked for anew."""
        self.ask()
        self.answer()
        self.clock.advance(FRESH - 0.1)
        self.assertTrue(self.ask().found)
        self.clock.advance(0.2)
        self.known["app"] = ["10.0.0.2"]
        asked = self.ask()
        self.answer()
        self.assertEqual((asked.found, self.asked), (["10.0.0.2 80"], ["app", "app"]))

    def test_failing(self) -> None:
        """Where a look-up fails, the last answer serves; not for ever."""
        self.ask()
        self.answer()
        self.known.clear()
        self.clock.advance(60)
        asked = self.ask()
        self.answer()
        self.assertEqual(asked.found, ["10.0.0.1 80", "fd00::1 80"])
        self.clock.advance(KEPT)
        asked = self.ask()
        self.answer()
        self.assertEqual(asked.found, [])

    def test_silent(self) -> None:
        """Where nobody answers, who asks for a name that was known gets its last addresses after a second, and who asks
        next at once."""
        self.ask()
        self.answer()
        self.clock.advance(60)
        asked = self.ask()
        self.clock.advance(SLOW - 0.1)
        self.assertIsNone(asked.found)
        self.clock.advance(0.2)
        self.assertTrue(asked.found)
        self.assertTrue(self.ask().found)
        self.assertEqual(len(self.threads), 1)

    def test_bounded(self) -> None:
        """So many look-ups at a time and no more, and a share of them is for names that were known."""
        self.ask()
        self.answer()
        self.clock.advance(60)
        strangers = [self.ask(f"x{number}") for number in range(UNPROVEN + 10)]
        self.assertEqual(len(self.threads), UNPROVEN)
        self.assertEqual([asked.found for asked in strangers], [None] * UNPROVEN + [[]] * 10)
        asked = self.ask()
        self.assertEqual(len(self.threads), UNPROVEN + 1)
        self.threads.pop()()
        self.assertTrue(asked.found)
        self.assertLess(UNPROVEN, AT_ONCE)
        self.answer()
        self.clock.advance(1)
        strangers = [self.ask(f"y{number}") for number in range(UNPROVEN)]
        self.assertEqual([asked.found for asked in strangers], [None] * UNPROVEN)

    def test_no_thread(self) -> None:
        """Where no thread can be started, the name is not known, and nothing stays behind."""

        def none(work: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        self.resolver = CachingResolver(self.clock, self.getaddrinfo, none)
        self.assertEqual(self.ask().found, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_one_that_answered(self) -> None:
        """The address that was connected to comes first, also in the next answers that hold it."""
        self.ask()
        self.answer()
        self.resolver.connected("app", "fd00::1")
        self.assertEqual(self.ask().found, ["fd00::1 80", "10.0.0.1 80"])
        self.clock.advance(60)
        asked = self.ask()
        self.answer()
        self.assertEqual(asked.found, ["fd00::1 80", "10.0.0.1 80"])
