"""What nats-py's client lacks: a flush that waits for all that was given to it, and an end that never hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nats.aio.client import Client

#: Seconds that the server's answer to a ping may take.
PATIENCE = 5.0


async def flush(client: Client) -> None:
    """Wait until all that was given to ``client`` has reached the server.

    nats-py writes a PING at once but commands a turn later, so its own ``flush`` may be answered before them.
    """
    from nats import errors

    loop = asyncio.get_running_loop()
    late = loop.time() + PATIENCE
    while client.pending_data_size:
        if not client.is_connected:
            raise errors.ConnectionClosedError
        if loop.time() > late:
            raise errors.FlushTimeoutError
        await asyncio.sleep(0)
    await client.rtt(timeout=PATIENCE)  # type: ignore[arg-type]  # seconds, any number will do


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Run all until one ends; what it raised is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def close(client: Client) -> None:
    try:
        await asyncio.wait_for(client.close(), 1.0)
    except Exception:  # noqa: S110
        pass  # it is thrown away in any case, and why it broke has been told
