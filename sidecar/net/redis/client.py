"""A connection to Redis for the reactor's side: Deferreds out, callbacks in, and it heals itself.

redis-py does the talking, on an asyncio loop on a thread of its own (:mod:`sidecar.net.redis.worker`), and is not
imported before :meth:`RedisClient.startService`.
"""

from __future__ import annotations

from typing import Any

from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from sidecar.net.errors import NetError, Unavailable
from sidecar.net.firstattempt import FirstAttempt
from sidecar.net.nats.loopthread import LoopThread
from sidecar.net.redis.access import RedisAccess
from sidecar.net.redis.worker import Arrival, ChannelChange, ChannelMessage, Deliver, RedisWorker

#: Bytes of publishes that wait for the server's word; one more is refused.
OUTSTANDING = 64 * 1024 * 1024


class RedisClient(service.Service):
    """Publishes and subscribes at whichever server answers. Subscriptions outlive connections; publishes do not wait.

    :ivar first_attempt: to connect.
    :ivar connected: whether a server answers now. :ivar detail: why not, in words; "" while connected.
    """

    log = Logger()

    def __init__(self, reactor: Any, access: RedisAccess, name: str, deliver: Deliver) -> None:
        """:param reactor: for the way back from the thread. :param name: shown by ``CLIENT LIST``.
        :param deliver: called with channel and payload of each message."""
        self._access = access
        self._name = name
        self._deliver = deliver
        self._thread = LoopThread(reactor, name)
        self._worker = self._new_worker()
        self._channels: dict[bytes, None] = {}
        self._outstanding = 0
        self._told = ""
        self.connected = False
        self.first_attempt = FirstAttempt(over=True)
        self.detail = "not started"

    def _new_worker(self) -> RedisWorker:
        return RedisWorker(self._access, self._name, self._thread, self)

    def startService(self) -> None:
        super().startService()
        self.detail = "not connected yet"
        self.first_attempt = FirstAttempt()
        self._thread.start()
        self._worker = self._new_worker()
        for channel in self._channels:
            self._thread.post(self._worker.alter, ChannelChange(channel, True, Deferred()))
        self._thread.run(self._worker.supervise).addErrback(self._supervision_ended)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self.connected, self.detail = False, "stopped"
        self.first_attempt.made()
        return self._thread.stop()

    def publish(self, channel: bytes, payload: bytes) -> Deferred[None]:
        """:returns: fires when the server has handed the message on. :raises Unavailable: it is not known to have."""
        if not self.first_attempt.over:
            return self.first_attempt.wait().addCallback(lambda _: self.publish(channel, payload))
        if not self.connected:
            return fail(Unavailable(f"Redis cannot be reached ({self.detail}); the message was not published"))
        size = len(payload)
        if self._outstanding + size > OUTSTANDING and self._outstanding:
            return fail(Unavailable(f"Redis does not keep up: {self._outstanding} bytes wait for its word"))
        self._outstanding += size
        done: Deferred[None] = Deferred()
        self._thread.post(self._worker.publish, ChannelMessage(channel, payload, done))

        def answered(result: Any) -> Any:
            self._outstanding -= size
            return result

        return done.addBoth(answered)

    def subscribe(self, channel: bytes) -> Deferred[None]:
        """Get the messages of ``channel``; once more is no error.

        :returns: fires when the server knows, and all that it sent before was delivered; at once without a server: it
            is told when it comes.
        """
        self._channels[channel] = None
        return self._alter(channel, True)

    def unsubscribe(self, channel: bytes) -> Deferred[None]:
        """Undo :meth:`subscribe`."""
        self._channels.pop(channel, None)
        return self._alter(channel, False)

    def _alter(self, channel: bytes, wanted: bool) -> Deferred[None]:
        if not self.running:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._thread.post(self._worker.alter, ChannelChange(channel, wanted, done))
        return done

    # --- what the worker tells, on the reactor's thread ---------------------------------------------------------------

    def up(self, address: str) -> None:
        if not self.running:
            return
        self.connected, self.detail, self._told = True, "", ""
        self.first_attempt.made()
        self.log.info("Connected to Redis at {address}", address=address)

    def down(self, detail: str) -> None:
        self.connected = False
        self.first_attempt.made()
        if self.running:
            self.detail = detail
            if detail != self._told:
                self._told = detail
                self.log.warn("Redis {detail}; trying again until it answers", detail=detail)

    def arrived(self, batch: list[Arrival], size: int) -> None:
        for arrival in batch:
            if isinstance(arrival, Deferred):
                self.finished(arrival, None)
                continue
            channel, payload = arrival
            try:
                self._deliver(channel, payload)
            except Exception:
                self.log.failure("A message on {channel} could not be handed on", channel=channel)
        self._thread.post(self._worker.landed, size)

    def finished(self, done: Deferred[None], error: NetError | None) -> None:
        if done.called:
            return  # cancelled meanwhile
        if error is None:
            done.callback(None)
        else:
            done.errback(error)

    def _supervision_ended(self, failure: Any) -> None:
        self.connected = False
        if self.running:
            self.detail = "the connection's owner failed"
            self.log.failure("The link to Redis failed and is closed", failure)
