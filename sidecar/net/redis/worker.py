"""The side of a Redis link that lives on the asyncio thread: one pair of connections after the other.

redis-py can connect again by itself, and would subscribe again without a word; what was published meanwhile would be
missed in silence. So nothing is repeated by it: a connection that fails ends the pair, and the next pair begins by
subscribing to all that is wanted. The subscribing connection is pinged when it is silent, since Redis says nothing on
one that nobody publishes to: that is how a subscriber goes deaf.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from sidecar.net.errors import NetError, Unavailable
from sidecar.net.nats.loopthread import LoopThread
from sidecar.net.redis.access import RedisAccess, RedisAddress

CONNECT_TIMEOUT = 3.0
#: Seconds of silence after which the server is pinged, and that an answer may take.
BEAT, PATIENCE = 2.0, 5.0
#: Seconds before connecting again: at first, and at most.
FIRST_WAIT, LAST_WAIT = 0.1, 2.0
#: Bytes that arrived and were not taken by the reactor: with more nothing is read for a while.
HELD_BYTES = 16 * 1024 * 1024
#: Messages given to the reactor at once.
FLIGHT = 256
#: Publishes that are written before their answers are waited for.
AT_ONCE = 512


@frozen(eq=False)
class ChannelMessage:
    channel: bytes
    payload: bytes
    done: Deferred[None]


@frozen(eq=False)
class ChannelChange:
    """A channel is wanted (also once more), or no longer."""

    channel: bytes
    wanted: bool
    done: Deferred[None]


#: On its way to the reactor: channel and payload; or who waits for what came before to be delivered.
Arrival = tuple[bytes, bytes] | Deferred[None]


class Listener(Protocol):
    """Who is told, on the reactor's thread."""

    def up(self, address: str) -> None: ...
    def down(self, detail: str) -> None: ...
    def arrived(self, batch: list[Arrival], size: int) -> None: ...
    def finished(self, done: Deferred[None], error: NetError | None) -> None: ...


@define(eq=False)
class RedisWorker:
    """Owns the connections. Everything here runs on the loop's thread."""

    _access: RedisAccess
    _name: str
    _thread: LoopThread
    _listener: Listener
    #: Subscribed to always, so that the connection is in that state; nobody knows its name.
    _own: bytes = field(factory=lambda: f"microsidecar:{uuid.uuid4()}".encode(), init=False)
    _wanted: dict[bytes, None] = field(factory=dict, init=False)
    _publications: deque[ChannelMessage] = field(factory=deque, init=False)
    _under_way: list[ChannelMessage] = field(factory=list, init=False)
    _stirred: asyncio.Event = field(factory=asyncio.Event, init=False)
    #: By channel: those who wait for the server's word on it, in order.
    _answers: dict[bytes, deque[Deferred[None] | asyncio.Future[None]]] = field(factory=dict, init=False)
    _pubsub: Any = field(default=None, init=False)
    _live: bool = field(default=False, init=False)
    _detail: str = field(default="not connected yet", init=False)
    _arrivals: deque[Arrival] = field(factory=deque, init=False)
    _held_bytes: int = field(default=0, init=False)
    _flying: bool = field(default=False, init=False)
    _space: asyncio.Event = field(factory=asyncio.Event, init=False)
    _writing: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    def publish(self, publication: ChannelMessage) -> None:
        """Publish, or fail at once without a connection."""
        if self._live:
            self._publications.append(publication)
            self._stirred.set()
        else:
            self._finish(publication.done, Unavailable(f"{self._detail}; the message was not published"))

    def alter(self, alteration: ChannelChange) -> None:
        """Subscribe or unsubscribe, now or with the next connection."""
        if alteration.wanted:
            self._wanted[alteration.channel] = None
        else:
            self._wanted.pop(alteration.channel, None)
        if self._pubsub is None:
            self._finish(alteration.done, None)
        else:
            self._answers.setdefault(alteration.channel, deque()).append(alteration.done)
            task = asyncio.ensure_future(self._tell(self._pubsub, alteration.channel, alteration.wanted))
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # the reader notices it too

    async def supervise(self) -> None:
        """Connect, again and again, until cancelled."""
        wait = FIRST_WAIT
        while True:
            for address in self._access.addresses:
                if await self._session(address):
                    wait = FIRST_WAIT
                    break
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(wait * 2, LAST_WAIT)

    async def _session(self, address: RedisAddress) -> bool:
        """Live through one pair of connections to ``address``. :returns: whether there was one."""
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        client = Redis(
            **self._access.arguments(address),
            client_name=self._name,
            socket_connect_timeout=CONNECT_TIMEOUT,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        pubsub = client.pubsub()
        was_live = False
        reading: asyncio.Task[None] | None = None
        try:
            await asyncio.wait_for(client.ping(), CONNECT_TIMEOUT * 2)
            await asyncio.wait_for(pubsub.subscribe(self._own), CONNECT_TIMEOUT * 2)
            reading = asyncio.ensure_future(self._read(pubsub))
            self._pubsub = pubsub
            await self._subscribe_all(pubsub, reading)
            self._live = was_live = True
            self._thread.reply(self._listener.up, str(address))
            await _first_of(reading, asyncio.ensure_future(self._work(client)))
            self._detail = f"{address}: the connection was lost"
        except asyncio.CancelledError:
            self._detail = "stopped"
            raise
        except Exception as error:
            # Whatever ended it, the next one is tried; the words go to the log and /stats.
            self._detail = f"{address}: {_words(error)}"
        finally:
            self._live, self._pubsub = False, None
            if reading is not None:
                reading.cancel()
            self._fail_all()
            self._thread.reply(self._listener.down, self._detail)
            await _quietly(pubsub.aclose())
            await _quietly(client.aclose())
        return was_live

    async def _subscribe_all(self, pubsub: Any, reading: asyncio.Task[None]) -> None:
        while missing := [channel for channel in self._wanted if channel not in pubsub.channels]:
            answered: list[asyncio.Future[None]] = []
            for channel in missing:
                answered.append(asyncio.get_running_loop().create_future())
                self._answers.setdefault(channel, deque()).append(answered[-1])
                await self._tell(pubsub, channel, True)
            all_answered = asyncio.gather(*answered)
            await asyncio.wait_for(_first_of(reading, asyncio.ensure_future(_all(all_answered))), PATIENCE)

    async def _tell(self, pubsub: Any, channel: bytes, wanted: bool) -> None:
        async with self._writing:
            await (pubsub.subscribe(channel) if wanted else pubsub.unsubscribe(channel))

    async def _work(self, client: Any) -> None:
        while True:
            if not self._publications:
                self._stirred.clear()
                await self._stirred.wait()
            batch = [self._publications.popleft() for _ in range(min(AT_ONCE, len(self._publications)))]
            self._under_way = batch
            pipeline = client.pipeline(transaction=False)
            for publication in batch:
                pipeline.publish(publication.channel, publication.payload)
            results = await asyncio.wait_for(pipeline.execute(raise_on_error=False), PATIENCE)
            self._under_way = []
            for publication, result in zip(batch, results, strict=True):
                error = Unavailable(f"Redis says {result}") if isinstance(result, Exception) else None
                self._finish(publication.done, error)

    async def _read(self, pubsub: Any) -> None:
        asked = False
        while True:
            said = await pubsub.get_message(timeout=PATIENCE if asked else BEAT)
            if said is None:
                if asked:
                    raise ConnectionError("no answer in time")
                asked = True
                async with self._writing:
                    await pubsub.ping()
                continue
            asked = False
            kind, channel = said["type"], said["channel"]
            if kind == "message":
                await self._arrived(channel, said["data"])
            elif kind in ("subscribe", "unsubscribe"):
                self._answered(channel)

    def _answered(self, channel: bytes) -> None:
        waiting = self._answers.get(channel)
        if not waiting:
            return
        one = waiting.popleft()
        if not waiting:
            del self._answers[channel]
        self._resolve(one)

    def _resolve(self, one: Deferred[None] | asyncio.Future[None]) -> None:
        if isinstance(one, Deferred):
            # Behind the messages that came before: they are not for who subscribed now.
            self._arrivals.append(one)
            if not self._flying:
                self._fly()
        elif not one.done():
            one.set_result(None)

    async def _arrived(self, channel: bytes, payload: bytes) -> None:
        while self._held_bytes > HELD_BYTES:
            self._space.clear()
            await self._space.wait()
        self._arrivals.append((channel, payload))
        self._held_bytes += len(payload)
        if not self._flying:
            self._fly()

    def _fly(self) -> None:
        batch = [self._arrivals.popleft() for _ in range(min(FLIGHT, len(self._arrivals)))]
        self._flying = True
        size = sum(len(arrival[1]) for arrival in batch if not isinstance(arrival, Deferred))
        self._thread.reply(self._listener.arrived, batch, size)

    def landed(self, size: int) -> None:
        """The reactor has taken a batch of ``size`` bytes: the next one may go."""
        self._held_bytes -= size
        self._flying = False
        self._space.set()
        if self._arrivals:
            self._fly()

    def _finish(self, done: Deferred[None], error: NetError | None) -> None:
        self._thread.reply(self._listener.finished, done, error)

    def _fail_all(self) -> None:
        lost = [*self._under_way, *self._publications]
        self._under_way = []
        self._publications.clear()
        for publication in lost:
            self._finish(publication.done, Unavailable(f"{self._detail}; Redis did not confirm the message"))
        answers, self._answers = self._answers, {}
        for waiting in answers.values():
            for one in waiting:
                self._resolve(one)  # it is noted, and live with the next connection


async def _all(gathering: asyncio.Future[Any]) -> None:
    await gathering


async def _first_of(*tasks: asyncio.Task[None]) -> None:
    """Wait until one ends; what it raised is raised. The first task goes on where it was another."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for other in tasks[1:]:
        other.cancel()
    for task in done:
        task.result()


async def _quietly(work: Coroutine[Any, Any, object]) -> None:
    try:
        await asyncio.wait_for(work, 1.0)
    except Exception:  # noqa: S110
        pass  # it is thrown away in any case, and why it broke has been told


def _words(error: Exception) -> str:
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return "no answer in time"
    return str(error) or type(error).__name__


#: For those who give work to a worker.
Deliver = Callable[[bytes, bytes], None]
