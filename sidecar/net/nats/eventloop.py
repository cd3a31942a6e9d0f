"""asyncio's event loop, whose look-ups of names the end of the process does not wait for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from sidecar.net.client.resolver import in_thread


class LookupLoop(asyncio.SelectorEventLoop):
    """asyncio looks names up in threads that Python joins at its end, for up to a minute where nobody answers.

    Equal look-ups that are under way are joined, so that attempts to connect do not pile them up.
    """

    def __init__(self, run: Callable[[Callable[[], None]], None] = in_thread) -> None:
        super().__init__()
        self._run_in_thread = run
        self._lookups: dict[tuple[Any, ...], asyncio.Future[Any]] = {}

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        asked = (host, port, family, type, proto, flags)
        answer = self._lookups.get(asked)
        if answer is None:
            answer = self._lookups[asked] = self.create_future()
            answer.add_done_callback(lambda _: self._lookups.pop(asked, None))
            self._run_in_thread(lambda: self._look_up(asked, answer))
        return await asyncio.shield(answer)

    def _look_up(self, asked: tuple[Any, ...], answer: asyncio.Future[Any]) -> None:
        found: Any = None
        error: OSError | UnicodeError | None = None
        try:
            found = socket.getaddrinfo(*asked)
        except (OSError, UnicodeError) as problem:
            error = problem

        def tell() -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)
                answer.exception()  # whoever asked may have left

        with contextlib.suppress(RuntimeError):  # the loop is closed by now
            self.call_soon_threadsafe(tell)
