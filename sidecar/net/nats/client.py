"""A connection to NATS for the reactor's side: Deferreds out, callbacks in, and it heals itself.

nats-py does the talking, on an asyncio loop on a thread of its own (:mod:`sidecar.net.nats.worker`), and is not
imported before :meth:`NatsClient.startService`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application import service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from sidecar.net.errors import MessageTooLarge, NetError, Unavailable
from sidecar.net.firstattempt import FirstAttempt
from sidecar.net.nats.access import NatsServers
from sidecar.net.nats.commands import Alteration, Arrival, Command, Interest, Publication
from sidecar.net.nats.loopthread import LoopThread
from sidecar.net.nats.worker import NatsWorker

__all__ = ["Interest", "NatsClient"]

#: Bytes of publishes that wait for the server's word; one more is refused.
OUTSTANDING = 64 * 1024 * 1024
#: Seconds between two log lines about dropped messages.
QUIET = 10.0


@define(eq=False, slots=False, init=False)
class NatsClient(service.Service):
    """Publishes and subscribes at whichever server answers. Subscriptions outlive connections; publishes do not wait.

    :ivar first_attempt: to connect.
    :ivar connected: whether a server answers now.
    :ivar detail: why not, in words; "" while connected.
    :ivar name_shown: what NATS monitoring calls us.
    :ivar max_payload: bytes of the largest message that the server takes.
    :ivar address: the server in use or last used.
    :ivar dropped: messages lost because we did not keep up.
    """

    log = Logger()
    connected: bool = field()

    def __init__(self, reactor: Any, servers: NatsServers, name: str, echo: bool = True) -> None:
        """:param reactor: for the way back from the thread, and as the clock. :param name: shown by NATS monitoring.
        :param echo: whether what we publish comes back to what we hold."""
        super().__init__()
        self._reactor = reactor
        self._servers = servers
        self.name_shown = name
        self._echo = echo
        self._thread = LoopThread(reactor, name)
        self._worker = self._new_worker()
        self._interests: dict[Interest, None] = {}
        self._observers: list[Callable[[bool], None]] = []
        self._supervision: Deferred[None] | None = None
        self._outstanding = 0
        self._told = ""
        self._told_dropped = float("-inf")
        self.connected = False
        self.first_attempt = FirstAttempt(over=True)
        self.detail = "not started"
        self.address = ", ".join(map(str, servers.addresses))
        self.max_payload = 1024 * 1024
        self.dropped = 0

    def startService(self) -> None:
        super().startService()
        self.detail = "not connected yet"
        self.first_attempt = FirstAttempt()
        self._thread.start()
        self._worker = self._new_worker()
        for interest in self._interests:
            self._thread.post(self._worker.take, Alteration(interest, Deferred()))
        self._supervision = self._thread.run(self._worker.supervise)
        self._supervision.addErrback(self._supervision_ended)

    def _new_worker(self) -> NatsWorker:
        return NatsWorker(self._servers, self.name_shown, self._echo, self._thread, self)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self.first_attempt.made()
        return self._thread.stop()

    def on_change(self, observer: Callable[[bool], None]) -> None:
        """Call ``observer(connected)`` whenever the connection comes (subscriptions in place) or goes."""
        self._observers.append(observer)

    def publish(self, subject: str, payload: bytes, reply: str = "") -> Deferred[None]:
        """:returns: fires when the server has the message.
        :raises Unavailable: it was not confirmed. :raises MessageTooLarge: the server does not take that much.
        :raises NotPermitted: not with our credentials."""
        if not self.connected:
            return fail(Unavailable(f"NATS cannot be reached ({self.detail}); the message was not published"))
        size = len(payload)
        if size > self.max_payload:
            return fail(
                MessageTooLarge(f"{size} bytes for {subject!r} are over the NATS server's limit of {self.max_payload}")
            )
        if self._outstanding + size > OUTSTANDING:
            return fail(Unavailable(f"NATS at {self.address} does not keep up: {self._outstanding} bytes wait"))
        self._outstanding += size
        done: Deferred[None] = Deferred()
        self._thread.post(self._worker.take, Publication(subject, payload, reply, done))
        return done

    def subscribe(self, interest: Interest) -> Deferred[None]:
        """Have ``interest.deliver(subject, reply, payload)`` called for each message, on the reactor's thread.

        Once more is no error, and waits for the server's word once more.

        :returns: fires when the server knows of it, or at once while there is no server: it is told when it comes.
        :raises NotPermitted: not with our credentials.
        """
        self._interests[interest] = None
        return self._alter(interest).addErrback(self._refused, interest)

    def unsubscribe(self, interest: Interest) -> Deferred[None]:
        """Give ``interest`` up for good: its ``deliver`` is not called again. Twice is no error."""
        if not interest.active:
            return succeed(None)
        interest.active = False
        self._interests.pop(interest, None)
        return self._alter(interest)

    def _alter(self, interest: Interest) -> Deferred[None]:
        if not self.running:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._thread.post(self._worker.take, Alteration(interest, done))
        return done

    def _refused(self, failure: Any, interest: Interest) -> Any:
        self.unsubscribe(interest)
        return failure

    # --- what the worker tells, on the reactor's thread ---------------------------------------------------------------

    def up(self, address: str, max_payload: int) -> None:
        self.connected, self.detail = True, ""
        self.first_attempt.made()
        self.address, self.max_payload = address, max_payload
        self._told = ""
        self.log.info("Connected to NATS at {address}", address=address)
        self._observe()

    def down(self, detail: str) -> None:
        was, self.connected, self.detail = self.connected, False, detail
        self.first_attempt.made()
        if self.running and detail != self._told:
            self._told = detail
            self.log.warn("NATS {detail}; trying again until it answers", detail=detail)
        if was:
            self._observe()

    def arrived(self, batch: list[Arrival], size: int) -> None:
        for interest, subject, reply, payload in batch:
            if interest.active:
                try:
                    interest.deliver(subject, reply, payload)
                except Exception:
                    self.log.failure("A subscriber of {subject} failed", subject=interest.subject)
        self._thread.post(self._worker.landed, size)

    def finished(self, results: list[tuple[Command, NetError | None]]) -> None:
        for command, error in results:
            if isinstance(command, Publication):
                self._outstanding -= len(command.payload)
            if command.done.called:
                continue  # cancelled meanwhile
            if error is None:
                command.done.callback(None)
            else:
                command.done.errback(error)

    def dropped_one(self, subject: str) -> None:
        self.dropped += 1
        now = self._reactor.seconds()
        if now - self._told_dropped > QUIET:
            self._told_dropped = now
            self.log.warn(
                "Messages from NATS ({subject}) come faster than they are taken; {dropped} dropped so far",
                subject=subject,
                dropped=self.dropped,
            )

    def _observe(self) -> None:
        for observer in list(self._observers):
            observer(self.connected)

    def _supervision_ended(self, failure: Any) -> None:
        self.connected = False
        if self.running:
            self.detail = "the connection's keeper failed"
            self.log.failure("The NATS link failed and is closed", failure)
