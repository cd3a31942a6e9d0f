"""The event loop's look-ups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.nats.eventloop import LookupLoop


class LookupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.threads: list[Callable[[], None]] = []
        self.loop = LookupLoop(self.threads.append)
        self.addCleanup(self.loop.close)

    async def ask(self, host: str) -> asyncio.Task[object]:
        asking: asyncio.Task[object] = asyncio.get_running_loop().create_task(self.loop.getaddrinfo(host, 80))
        await asyncio.sleep(0)
        return asking

    def test_joined(self) -> None:
        """Equal look-ups are one, and one who leaves disturbs nobody."""

        async def work() -> None:
            first, second, other = [await self.ask(host) for host in ("127.0.0.1", "127.0.0.1", "::1")]
            self.assertEqual(len(self.threads), 2)
            first.cancel()
            for look_up in self.threads:
                look_up()
            self.assertIn("127.0.0.1", str(await second))
            self.assertIn("::1", str(await other))
            again = await self.ask("127.0.0.1")
            self.assertEqual(len(self.threads), 3)
            again.cancel()

        self.loop.run_until_complete(work())

    def test_unknown(self) -> None:
        """A name that is none fails as ever."""

        async def work() -> None:
            asking = await self.ask("nobody..invalid")
            self.threads.pop()()
            with self.assertRaises((OSError, UnicodeError)):
                await asking

        self.loop.run_until_complete(work())

    def test_late(self) -> None:
        """An answer that comes when the loop is closed is nobody's."""

        async def work() -> None:
            (await self.ask("127.0.0.1")).cancel()

        self.loop.run_until_complete(work())
        self.loop.close()
        self.threads.pop()()
