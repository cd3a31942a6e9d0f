"""The side of a NATS link that lives on the asyncio thread: one nats-py client after the other, each one connection.

nats-py can reconnect by itself. We do not let it: it buffers what is published meanwhile (a publisher that was told of
failure would still be heard later), it closes for good on some errors, and one of its tasks can die unseen. A fresh
client a connection, watched from outside by pings of ours, has none of these states.

A publish counts as handed over when the server answered a PING that was written after it. One PING serves for all that
was waiting, so the round trip is shared by many under load.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from attrs import define, field

from sidecar.net.errors import InvalidSubject, MessageTooLarge, NetError, NotPermitted, Unavailable
from sidecar.net.nats.access import NatsAddress, NatsServers, NoTLS, parse_address
from sidecar.net.nats.commands import Alteration, Arrival, Command, Interest, NatsListener, Publication
from sidecar.net.nats.loopthread import LoopThread
from sidecar.net.nats.pyclient import PATIENCE, close, first_of, flush
from sidecar.waiting import Backoff

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

CONNECT_TIMEOUT = 3.0
#: Seconds between our pings.
BEAT = 2.0
#: Seconds before connecting again: at first, and at most.
FIRST_WAIT, LAST_WAIT = 0.1, 2.0
#: Messages that arrived and were not taken by the reactor: beyond this nats-py queues, then drops.
BUFFERED_BYTES, BUFFERED_COUNT = 8 * 1024 * 1024, 8192
QUEUED_BYTES, QUEUED_COUNT = 16 * 1024 * 1024, 65536
#: Messages given to the reactor at once.
FLIGHT = 256
#: Servers that a cluster told of and that are tried too.
DISCOVERED = 16


@define(eq=False)
class NatsWorker:
    """Keeps one connection and carries out commands on it. Everything here runs on the loop's thread."""

    _servers: NatsServers
    _name: str
    _echo: bool
    _thread: LoopThread
    _listener: NatsListener
    _wanted: dict[Interest, None] = field(factory=dict, init=False)
    _subscribed: dict[Interest, Subscription] = field(factory=dict, init=False)
    _live: bool = field(default=False, init=False)
    _detail: str = field(default="not connected yet", init=False)
    _commands: deque[Command] = field(factory=deque, init=False)
    _under_way: deque[Command] = field(factory=deque, init=False)
    _commanded: asyncio.Event = field(factory=asyncio.Event, init=False)
    _refusals: list[str] = field(factory=list, init=False)
    _arrivals: deque[Arrival] = field(factory=deque, init=False)
    _buffered_bytes: int = field(default=0, init=False)
    _flying: bool = field(default=False, init=False)
    _drained: asyncio.Event = field(factory=asyncio.Event, init=False)
    _noted: Exception | None = field(default=None, init=False)
    _discovered: list[NatsAddress] = field(factory=list, init=False)

    def take(self, command: Command) -> None:
        """Carry out ``command``, now or as soon as connected; a publish that cannot be made now fails."""
        if isinstance(command, Alteration):
            if command.interest.active:
                self._wanted[command.interest] = None
            else:
                self._wanted.pop(command.interest, None)
        if self._live:
            self._commands.append(command)
            self._commanded.set()
        else:
            self._answer([command], {})

    async def supervise(self) -> None:
        """Connect, again and again, until cancelled."""
        backoff = Backoff(FIRST_WAIT, LAST_WAIT, random.Random())
        while True:
            for address in [*self._servers.addresses, *self._discovered]:
                if await self._session(address):
                    backoff.reset()
                    break
            await asyncio.sleep(backoff.pause())

    async def _session(self, address: NatsAddress) -> bool:
        """Live through one connection to ``address``. :returns: whether there was one."""
        from nats.aio.client import Client

        client = Client()
        ended = asyncio.Event()
        was_live = False
        self._noted = None

        async def closed() -> None:
            ended.set()

        try:
            await self._connect(client, address, closed)
            await self._reconcile(client)
            self._live = was_live = True
            self._note_cluster(client)
            self._thread.reply(self._listener.up, str(address), client.max_payload)
            await first_of(self._work(client), self._beat(client), ended.wait())
            self._detail = f"{address}: the connection was lost" + (
                f": {self._words(self._noted)}" if self._noted else ""
            )
        except asyncio.CancelledError:
            self._detail = "stopped"
            raise
        except Exception as error:
            # Whatever ended it, the connection is over and the next one is tried; the words go to the log and /stats.
            self._detail = f"{address}: {self._words(error)}"
        finally:
            self._live = False
            self._subscribed.clear()
            lost, self._under_way, self._commands = [*self._under_way, *self._commands], deque(), deque()
            self._answer(lost, {})
            self._thread.reply(self._listener.down, self._detail)
            await close(client)
        return was_live

    async def _connect(
        self, client: Client, address: NatsAddress, closed: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        arguments = self._servers.arguments(address)

        async def went_wrong(error: Exception) -> None:
            self._went_wrong(error)

        await asyncio.wait_for(
            client.connect(
                **arguments,
                name=self._name,
                error_cb=went_wrong,
                closed_cb=closed,
                no_echo=not self._echo,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT,  # type: ignore[arg-type]  # seconds, any number will do
                ping_interval=3600,  # ours are closer together
            ),
            CONNECT_TIMEOUT * 3,
        )
        if not self._servers.satisfied(address, arguments):
            raise NoTLS(f"{address} does not offer TLS")

    async def _beat(self, client: Client) -> None:
        while client.is_connected:
            await asyncio.sleep(BEAT)
            await client.rtt(timeout=PATIENCE)  # type: ignore[arg-type]  # seconds, any number will do

    async def _work(self, client: Client) -> None:
        while True:
            if not self._commands:
                self._commanded.clear()
                await self._commanded.wait()
            batch, self._commands = self._commands, deque()
            self._under_way = batch
            self._refusals.clear()
            errors: dict[Command, NetError] = {}
            for command in batch:
                error = await self._carry_out(client, command)
                if error is not None:
                    errors[command] = error
            await flush(client)
            self._under_way = deque()
            self._answer(batch, errors)

    async def _carry_out(self, client: Client, command: Command) -> NetError | None:
        """:returns: what is wrong with ``command`` itself; what is wrong with the connection is raised."""
        from nats import errors

        if isinstance(command, Alteration):
            await self._reconcile_one(client, command.interest)
            return None
        subject, size = command.subject, len(command.payload)
        try:
            await client.publish(subject, command.payload, command.reply)
        except errors.MaxPayloadError:
            return MessageTooLarge(
                f"{size} bytes for {subject!r} are over the NATS server's limit of {client.max_payload}"
            )
        except errors.BadSubjectError:
            return InvalidSubject(f"{subject!r} is not a NATS subject")
        return None

    async def _reconcile(self, client: Client) -> None:
        """Subscribe on this connection to every interest that is wanted."""
        while missing := [interest for interest in self._wanted if interest not in self._subscribed]:
            for interest in missing:
                await self._reconcile_one(client, interest)
            await flush(client)

    async def _reconcile_one(self, client: Client, interest: Interest) -> None:
        subscription = self._subscribed.get(interest)
        if interest in self._wanted and subscription is None:

            async def arrived(message: Msg) -> None:
                await self._arrived(interest, message)

            self._subscribed[interest] = await client.subscribe(
                interest.subject,
                interest.queue,
                cb=arrived,
                pending_msgs_limit=QUEUED_COUNT,
                pending_bytes_limit=QUEUED_BYTES,
            )
        elif interest not in self._wanted and subscription is not None:
            del self._subscribed[interest]
            await subscription.unsubscribe()

    async def _arrived(self, interest: Interest, message: Msg) -> None:
        while self._buffered_bytes > BUFFERED_BYTES or len(self._arrivals) > BUFFERED_COUNT:
            self._drained.clear()
            await self._drained.wait()
        self._arrivals.append((interest, message.subject, message.reply, message.data))
        self._buffered_bytes += len(message.data)
        if not self._flying:
            self._fly()

    def _fly(self) -> None:
        batch = [self._arrivals.popleft() for _ in range(min(FLIGHT, len(self._arrivals)))]
        self._flying = True
        self._thread.reply(self._listener.arrived, batch, sum(len(arrival[3]) for arrival in batch))

    def landed(self, size: int) -> None:
        """The reactor has taken a batch of ``size`` bytes: the next one may go."""
        self._buffered_bytes -= size
        self._flying = False
        self._drained.set()
        if self._arrivals:
            self._fly()

    def _went_wrong(self, error: Exception) -> None:
        from nats import errors

        if isinstance(error, errors.SlowConsumerError):
            self._thread.reply(self._listener.dropped_one, error.subject)
        elif "permissions violation" in str(error).lower():
            self._refusals.append(str(error).lower())
            del self._refusals[:-1000]
        else:
            self._noted = error

    def _words(self, error: Exception) -> str:
        # "No servers available" is nats-py's summary of a failure that it told of before.
        if type(error).__name__ == "NoServersError" and self._noted is not None:
            error = self._noted
        if isinstance(error, asyncio.TimeoutError):
            return "no answer in time"
        return str(error).removeprefix("nats: ") or type(error).__name__

    def _answer(self, commands: deque[Command] | list[Command], errors: dict[Command, NetError]) -> None:
        if not commands:
            return
        results: list[tuple[Command, NetError | None]] = []
        for command in commands:
            error = errors.get(command) or self._refused(command)
            if error is None and not self._live and isinstance(command, Publication):
                error = Unavailable(f"NATS {self._detail}; the server did not confirm the message")
            results.append((command, error))
        self._thread.reply(self._listener.finished, results)

    def _refused(self, command: Command) -> NotPermitted | None:
        if not self._refusals:
            return None
        subject = command.subject if isinstance(command, Publication) else command.interest.subject
        verb = "publish" if isinstance(command, Publication) else "subscription"
        if any(f'for {verb} to "{subject.lower()}"' in refusal for refusal in self._refusals):
            return NotPermitted(f"the NATS server does not permit our credentials a {verb} to {subject!r}")
        return None

    def _note_cluster(self, client: Client) -> None:
        known = set(self._servers.addresses)
        self._discovered = []
        for found in client.discovered_servers[:DISCOVERED]:
            address = parse_address(found.netloc)
            if address not in known:
                self._discovered.append(address)
