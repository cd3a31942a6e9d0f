"""A connection to RabbitMQ that heals itself: one pika connection after the other, each made ready before it is used.

pika's Twisted adapter takes the global reactor when it is imported, so that is done when the first connection is made.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field
from OpenSSL.SSL import Error as SSLError
from twisted.application import service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from sidecar.net.amqp.access import AmqpAccess, AmqpAddress
from sidecar.net.errors import Unavailable
from sidecar.net.firstattempt import FirstAttempt

if TYPE_CHECKING:
    from pika.adapters.twisted_connection import TwistedChannel, TwistedProtocolConnection

T = TypeVar("T")

CONNECT_TIMEOUT = 5.0
#: Seconds that the handshake, a channel or a declaration may take.
PATIENCE = 10.0
#: Seconds between heartbeats, as go-micro's.
HEARTBEAT = 10
#: Seconds before connecting again: at first, and at most.
FIRST_WAIT, LAST_WAIT = 0.1, 2.0
#: Seconds that the goodbye may take.
GOODBYE = 2.0


@define(eq=False)
class AmqpSession:
    """One connection, alive until :attr:`ended`."""

    _reactor: Any
    _protocol: TwistedProtocolConnection
    address: AmqpAddress
    ended: bool = field(default=False, init=False)

    def within(self, waiting: Deferred[T]) -> Deferred[T]:
        """``waiting``, which fails when it takes too long."""
        return waiting.addTimeout(PATIENCE, self._reactor)

    async def channel(self) -> TwistedChannel:
        """A new channel. :raises Exception: the connection was lost, or holds all the channels that it can."""
        return await self.within(maybeDeferred(self._protocol.channel))

    def close(self) -> None:
        """Say goodbye; the connection ends soon."""
        self.ended = True
        try:
            self._protocol.close()
        except Exception:
            self.abort()  # it is closing already, or was never open: there is nobody to say goodbye to

    def abort(self) -> None:
        """Drop the connection."""
        if self._protocol.transport is not None:
            self._protocol.transport.abortConnection()


@define(eq=False, slots=False, init=False)
class AmqpLink(service.Service):
    """Connects to whichever server answers, again and again.

    :ivar session: the connection that is ready for use, None while there is none.
    :ivar detail: why there is none, in words. :ivar first_attempt: to try every address, or to find one that answers.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        access: AmqpAccess,
        name: str,
        prepare: Callable[[AmqpSession], Coroutine[Any, Any, None]],
        lost: Callable[[], None],
    ) -> None:
        """:param name: shown by RabbitMQ's management. :param prepare: makes a new connection ready for use.
        :param lost: called when a connection that was ready is no more."""
        super().__init__()
        self._reactor = reactor
        self._access = access
        self._name = name
        self._prepare = prepare
        self._lost = lost
        self._supervision: Deferred[None] | None = None
        self._current: AmqpSession | None = None
        self._told = ""
        self.first_attempt = FirstAttempt(over=True)
        self.session: AmqpSession | None = None
        self.detail = "not started"

    def startService(self) -> None:
        super().startService()
        self.detail = "not connected yet"
        self.first_attempt = FirstAttempt()
        # What it has to say of a lost connection is decided and told here; what it tells of messages holds bodies.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self._supervision = ensureDeferred(self._supervise())
        self._supervision.addErrback(self._supervision_ended)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self.detail = "stopped"
        self.first_attempt.made()
        supervision, self._supervision = self._supervision, None
        if supervision is None:
            return succeed(None)
        if self._current is None:
            supervision.cancel()
        else:
            self._current.close()
            supervision.addTimeout(GOODBYE, self._reactor)
        return supervision.addErrback(lambda _: None)

    async def _supervise(self) -> None:
        wait = FIRST_WAIT
        while self.running:
            for address in self._access.addresses:
                if await self._live(address):
                    wait = FIRST_WAIT
                    break
            self.first_attempt.made()
            if self.running:
                await deferLater(self._reactor, wait * random.uniform(0.5, 1.0))
                wait = min(wait * 2, LAST_WAIT)

    async def _live(self, address: AmqpAddress) -> bool:
        """Live through one connection to ``address``. :returns: whether there was one."""
        session: AmqpSession | None = None
        try:
            protocol = await self._connect(address)
            session = self._current = AmqpSession(self._reactor, protocol, address)
            closed: Deferred[Any] = protocol.closed or Deferred()
            await self._first_of(ensureDeferred(self._prepare(session)), closed)
            self.session, self.detail, self._told = session, "", ""
            self.log.info("Connected to RabbitMQ at {address}", address=address)
            self.first_attempt.made()
            reason = await closed
            self._went(f"{address}: the connection was lost: {words(reason)}")
            return True
        except CancelledError:
            raise
        except Exception as error:
            # Whatever ended it, the next one is tried; the words go to the log and /stats.
            self._went(f"{address}: {words(error)}")
            return False
        finally:
            if session is not None:
                session.ended = True
                session.abort()
            self._current = None
            if self.session is not None:
                self.session = None
                self._lost()

    async def _first_of(self, work: Deferred[None], closed: Deferred[Any]) -> None:
        """``work``, unless the connection is closed before it is done."""
        done: Deferred[None] = Deferred(lambda _: work.cancel())

        def finished(result: Any) -> None:
            if not done.called:
                done.callback(result)

        def lost(reason: Any) -> Any:
            if not done.called:
                done.errback(reason if isinstance(reason, Exception) else ConnectionError(words(reason)))
                work.cancel()
            return reason

        closed.addCallback(lost)
        work.addBoth(finished)
        await done

    async def _connect(self, address: AmqpAddress) -> TwistedProtocolConnection:
        from pika import ConnectionParameters, PlainCredentials
        from pika.adapters.twisted_connection import TwistedProtocolConnection

        username, password = self._access.credentials(address)
        parameters = ConnectionParameters(
            host=address.host,
            port=address.port,
            virtual_host=address.vhost,
            credentials=PlainCredentials(username, password),
            heartbeat=HEARTBEAT,
            client_properties={"connection_name": self._name},
        )
        ends: list[Failure] = []

        class NotedConnection(TwistedProtocolConnection):
            """Keeps why it ended, which pika does not tell of a handshake that fails."""

            def connectionLost(self, reason: Failure) -> None:
                ends.append(reason)
                super().connectionLost(reason)

        factory = Factory.forProtocol(lambda: NotedConnection(parameters, self._reactor))
        factory.noisy = False
        connecting: Deferred[TwistedProtocolConnection] = self._access.endpoint(address).connect(factory)
        connecting.addTimeout(CONNECT_TIMEOUT, self._reactor)
        protocol = await connecting
        # It is gone already where the connection was lost with the handshake.
        ready: Deferred[Any] | None = protocol.ready
        if ready is not None:
            try:
                await ready.addTimeout(PATIENCE, self._reactor)
            except BaseException:
                if protocol.transport is not None:
                    protocol.transport.abortConnection()
                if ends and ends[0].check(SSLError):
                    ends[0].raiseException()
                raise
        if not protocol.is_open:
            raise Unavailable("the handshake was cut off")
        return protocol

    def _went(self, detail: str) -> None:
        if not self.running:
            return
        self.detail = detail
        if detail != self._told:
            self._told = detail
            self.log.warn("RabbitMQ {detail}; trying again until it answers", detail=detail)

    def _supervision_ended(self, failure: Any) -> None:
        self.session = None
        if self.running and not failure.check(CancelledError):
            self.detail = "the connection's keeper failed"
            self.log.failure("The link to RabbitMQ failed and is closed", failure)


def words(error: object) -> str:
    """What ``error`` says, for people who know RabbitMQ and not pika."""
    text, code = getattr(error, "reply_text", ""), getattr(error, "reply_code", 0)
    if text:
        return f"RabbitMQ says {code} {text}"
    if isinstance(error, TookTooLong):
        return "no answer in time"
    if isinstance(error, SSLError):
        return f"TLS failed: {', '.join(str(part[-1]) for part in error.args[0]) if error.args else 'no reason'}"
    kind = type(error).__name__
    if kind == "AMQPConnectionError":
        return "the handshake was refused: check user name, password and vhost"
    if kind in ("ConnectionDone", "ConnectionLost", "StreamLostError"):
        return "the connection was closed"
    return str(error) or type(error).__name__
