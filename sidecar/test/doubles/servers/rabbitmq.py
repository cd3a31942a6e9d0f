"""A RabbitMQ in little: AMQP 0-9-1 as far as our client speaks it, in the test's own reactor.

Frames are read and written by pika's own codec; what the server does with them is written anew here.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

from attrs import define, field
from pika import BasicProperties, frame, spec
from pika.amqp_object import Method
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory

from sidecar.wire.broker.rabbitmq import matches

FRAME_MAX = 131072
CAPABILITIES = ("publisher_confirms", "basic.nack", "consumer_cancel_notify", "exchange_exchange_bindings")


@define(eq=False)
class Stored:
    """A message in a queue."""

    exchange: str
    key: str
    properties: BasicProperties
    body: bytes
    redelivered: bool = False


@define(eq=False)
class Consumer:
    connection: FakeRabbitConnection
    channel: int
    tag: str
    no_ack: bool
    prefetch: int
    unacked: int = 0


@define(eq=False)
class Queue:
    name: str
    durable: bool
    auto_delete: bool
    owner: FakeRabbitConnection | None
    messages: deque[Stored] = field(factory=deque)
    consumers: deque[Consumer] = field(factory=deque)


class Refusal(Exception):
    """What closes a channel."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@define(eq=False)
class Channel:
    """:ivar unacked: by delivery tag: queue, message, consumer. :ivar published: since confirms were asked for."""

    prefetch: int = 0
    confirms: bool = False
    published: int = 0
    tags: Any = field(factory=lambda: itertools.count(1))
    unacked: dict[int, tuple[Queue, Stored, Consumer]] = field(factory=dict)
    consumers: dict[str, tuple[Queue, Consumer]] = field(factory=dict)
    publishing: Any = None
    header: Any = None
    body: bytes = b""


class FakeRabbitConnection(Protocol):
    """One client."""

    transport: Any

    def __init__(self, server: FakeRabbit) -> None:
        self.server = server
        self.channels: dict[int, Channel] = {}
        self._buffer = b""

    def connectionMade(self) -> None:
        self.server.connections.append(self)

    def connectionLost(self, reason: Any = None) -> None:
        if self in self.server.connections:
            self.server.connections.remove(self)
        for number in list(self.channels):
            self.server.channel_ended(self, number)
        for queue in [queue for queue in self.server.queues.values() if queue.owner is self]:
            self.server.delete(queue)

    def send(self, number: int, method: Any) -> None:
        self.transport.write(frame.Method(number, method).marshal())

    def send_content(self, number: int, method: Any, stored: Stored) -> None:
        self.send(number, method)
        self.transport.write(frame.Header(number, len(stored.body), stored.properties).marshal())
        for at in range(0, len(stored.body), FRAME_MAX - 8):
            self.transport.write(frame.Body(number, stored.body[at : at + FRAME_MAX - 8]).marshal())

    def dataReceived(self, data: bytes) -> None:
        if self.server.frozen:
            return
        self._buffer += data
        while True:
            used, value = frame.decode_frame(self._buffer)
            if value is None:
                return
            self._buffer = self._buffer[used:]
            self._heard(value)

    def _heard(self, value: Any) -> None:
        if isinstance(value, frame.ProtocolHeader):
            capabilities = dict.fromkeys(CAPABILITIES, True)
            self.send(0, spec.Connection.Start(0, 9, {"capabilities": capabilities}))
        elif isinstance(value, frame.Method):
            self._method(value.channel_number, value.method)
        elif value.channel_number not in self.channels:
            pass  # what was under way when we closed it
        elif isinstance(value, frame.Header):
            channel = self.channels[value.channel_number]
            channel.header, channel.body = value, b""
            self._published_if_whole(value.channel_number, channel)
        elif isinstance(value, frame.Body):
            channel = self.channels[value.channel_number]
            channel.body += value.fragment
            self._published_if_whole(value.channel_number, channel)

    def _method(self, number: int, method: Method) -> None:
        if number and number not in self.channels and not isinstance(method, spec.Channel.Open):
            return  # what was under way when we closed it
        name = method.NAME.replace(".", "_").lower()
        try:
            getattr(self, f"do_{name}")(number, method)
        except Refusal as refusal:
            self.server.channel_ended(self, number)
            self.send(number, spec.Channel.Close(refusal.code, refusal.text, *divmod(method.INDEX, 65536)))

    # --- connection and channels

    def do_connection_startok(self, number: int, method: Any) -> None:
        user, password = (
            method.response.split("\0")[1:]
            if isinstance(method.response, str)
            else (part.decode() for part in method.response.split(b"\0")[1:])
        )
        if (user, password) != self.server.account:
            self.transport.loseConnection()
            return
        self.send(0, spec.Connection.Tune(2047, FRAME_MAX, 60))

    def do_connection_tuneok(self, number: int, method: Any) -> None:
        pass

    def do_connection_open(self, number: int, method: Any) -> None:
        self.send(0, spec.Connection.OpenOk())

    def do_connection_close(self, number: int, method: Any) -> None:
        self.send(0, spec.Connection.CloseOk())
        self.transport.loseConnection()

    def do_channel_open(self, number: int, method: Any) -> None:
        self.channels[number] = Channel()
        self.send(number, spec.Channel.OpenOk())

    def do_channel_close(self, number: int, method: Any) -> None:
        self.server.channel_ended(self, number)
        self.send(number, spec.Channel.CloseOk())

    def do_channel_closeok(self, number: int, method: Any) -> None:
        pass

    def do_confirm_select(self, number: int, method: Any) -> None:
        self.channels[number].confirms = True
        self.send(number, spec.Confirm.SelectOk())

    # --- exchanges and queues

    def do_exchange_declare(self, number: int, method: Any) -> None:
        durable = self.server.exchanges.setdefault(method.exchange, method.durable)
        if durable != method.durable:
            raise Refusal(406, f"PRECONDITION_FAILED - inequivalent arg 'durable' for exchange '{method.exchange}'")
        self.server.log.append(f"exchange {method.exchange}")
        self.send(number, spec.Exchange.DeclareOk())

    def do_exchange_bind(self, number: int, method: Any) -> None:
        self.server.bind("exchange", method.destination, method.source, method.routing_key)
        self.send(number, spec.Exchange.BindOk())

    def do_queue_declare(self, number: int, method: Any) -> None:
        name = method.queue or f"amq.gen-{next(self.server.names)}"
        queue = self.server.queues.get(name)
        if method.passive and queue is None:
            raise Refusal(404, f"NOT_FOUND - no queue '{name}'")
        if queue is None:
            owner = self if method.exclusive else None
            queue = self.server.queues[name] = Queue(name, method.durable, method.auto_delete, owner)
        elif queue.owner not in (None, self):
            raise Refusal(405, f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}'")
        elif not method.passive and queue.durable != method.durable:
            raise Refusal(406, f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{name}'")
        self.server.log.append(f"queue {name}")
        self.send(number, spec.Queue.DeclareOk(name, len(queue.messages), len(queue.consumers)))

    def do_queue_bind(self, number: int, method: Any) -> None:
        if method.queue not in self.server.queues:
            raise Refusal(404, f"NOT_FOUND - no queue '{method.queue}'")
        self.server.bind("queue", method.queue, method.exchange, method.routing_key)
        self.server.log.append(f"bind {method.queue} {method.exchange} {method.routing_key}")
        self.send(number, spec.Queue.BindOk())

    def do_queue_unbind(self, number: int, method: Any) -> None:
        self.server.bindings.pop(("queue", method.queue, method.exchange, method.routing_key), None)
        self.send(number, spec.Queue.UnbindOk())

    # --- consuming

    def do_basic_qos(self, number: int, method: Any) -> None:
        self.channels[number].prefetch = method.prefetch_count
        self.send(number, spec.Basic.QosOk())

    def do_basic_consume(self, number: int, method: Any) -> None:
        queue = self.server.queues.get(method.queue)
        if queue is None:
            raise Refusal(404, f"NOT_FOUND - no queue '{method.queue}'")
        channel = self.channels[number]
        consumer = Consumer(self, number, method.consumer_tag, method.no_ack, channel.prefetch)
        channel.consumers[consumer.tag] = (queue, consumer)
        queue.consumers.append(consumer)
        self.send(number, spec.Basic.ConsumeOk(consumer.tag))
        self.server.pump(queue)

    def do_basic_cancel(self, number: int, method: Any) -> None:
        queue, consumer = self.channels[number].consumers.pop(method.consumer_tag)
        self.send(number, spec.Basic.CancelOk(method.consumer_tag))
        self.server.left(queue, consumer)

    def do_basic_ack(self, number: int, method: Any) -> None:
        self._settled(number, method, requeue=False)

    def do_basic_nack(self, number: int, method: Any) -> None:
        self._settled(number, method, requeue=method.requeue)

    def _settled(self, number: int, method: Any, requeue: bool) -> None:
        channel = self.channels[number]
        if method.delivery_tag not in channel.unacked:
            raise Refusal(406, f"PRECONDITION_FAILED - unknown delivery tag {method.delivery_tag}")
        queue, stored, consumer = channel.unacked.pop(method.delivery_tag)
        consumer.unacked -= 1
        if requeue:
            stored.redelivered = True
            queue.messages.appendleft(stored)
        self.server.pump(queue)

    # --- publishing

    def do_basic_publish(self, number: int, method: Any) -> None:
        if method.exchange not in self.server.exchanges:
            raise Refusal(404, f"NOT_FOUND - no exchange '{method.exchange}'")
        self.channels[number].publishing = method

    def _published_if_whole(self, number: int, channel: Channel) -> None:
        if len(channel.body) < channel.header.body_size:
            return
        method = channel.publishing
        stored = Stored(method.exchange, method.routing_key, channel.header.properties, channel.body)
        self.server.log.append(f"publish {method.exchange} {method.routing_key}")
        self.server.published.append(stored)
        reached = self.server.route(stored)
        if method.mandatory and not reached:
            self.send_content(number, spec.Basic.Return(312, "NO_ROUTE", method.exchange, method.routing_key), stored)
        channel.published += 1
        if channel.confirms and not self.server.silent:
            self.send(number, spec.Basic.Ack(channel.published, False))


@define(eq=False)
class FakeRabbit:
    """The server.

    :ivar log: what was declared, bound and published, in order. :ivar published: every message that came.
    :ivar account: the only user and password. :ivar frozen: whether it stopped reading.
    :ivar silent: whether it confirms nothing. :ivar exchanges: by name, whether durable.
    """

    reactor: Any
    port: int = 0
    account: tuple[str, str] = ("guest", "guest")
    frozen: bool = False
    silent: bool = False
    log: list[str] = field(factory=list)
    published: list[Stored] = field(factory=list)
    connections: list[FakeRabbitConnection] = field(factory=list)
    exchanges: dict[str, bool] = field(factory=dict)
    queues: dict[str, Queue] = field(factory=dict)
    #: What (``queue`` or ``exchange``), its name, from which exchange, by which key.
    bindings: dict[tuple[str, str, str, str], None] = field(factory=dict)
    names: Any = field(factory=lambda: itertools.count(1))
    #: The files of its certificate and key, for TLS.
    certificate: tuple[str, str] | None = None
    _listening: Any = None

    def start(self) -> None:
        factory = Factory.forProtocol(lambda: FakeRabbitConnection(self))
        factory.noisy = False
        if self.certificate:
            context = DefaultOpenSSLContextFactory(self.certificate[1], self.certificate[0])
            self._listening = self.reactor.listenSSL(self.port, factory, context, interface="127.0.0.1")
        else:
            self._listening = self.reactor.listenTCP(self.port, factory, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    def stop(self) -> Deferred[None]:
        """Go away as by a crash: what is not durable is forgotten."""
        listening, self._listening = self._listening, None
        self.drop()
        self.exchanges = {name: durable for name, durable in self.exchanges.items() if durable}
        self.queues = {name: queue for name, queue in self.queues.items() if queue.durable}
        for queue in self.queues.values():
            queue.consumers.clear()
        self.bindings = {
            binding: None
            for binding in self.bindings
            if binding[2] in self.exchanges and binding[1] in (self.queues if binding[0] == "queue" else self.exchanges)
        }
        return maybeDeferred(listening.stopListening) if listening is not None else maybeDeferred(lambda: None)

    def drop(self) -> None:
        """Drop every client."""
        for connection in list(self.connections):
            connection.transport.abortConnection()
            connection.connectionLost()

    def bind(self, what: str, name: str, exchange: str, key: str) -> None:
        if exchange not in self.exchanges:
            raise Refusal(404, f"NOT_FOUND - no exchange '{exchange}'")
        self.bindings[what, name, exchange, key] = None

    def route(self, stored: Stored) -> bool:
        """Put it into every queue that it is for, once. :returns: whether there is one."""
        exchanges, reached = [stored.exchange], {}
        for exchange in exchanges:
            for what, name, source, key in self.bindings:
                if source == exchange and matches(key, stored.key):
                    if what == "exchange" and name not in exchanges:
                        exchanges.append(name)
                    elif what == "queue":
                        reached[name] = self.queues[name]
        for queue in reached.values():
            queue.messages.append(Stored(stored.exchange, stored.key, stored.properties, stored.body))
            self.pump(queue)
        return bool(reached)

    def pump(self, queue: Queue) -> None:
        """Give messages to consumers in turn, to each as many as it may have."""
        while queue.messages:
            ready = [one for one in queue.consumers if one.no_ack or not one.prefetch or one.unacked < one.prefetch]
            if not ready:
                return
            consumer = ready[0]
            queue.consumers.remove(consumer)
            queue.consumers.append(consumer)
            stored = queue.messages.popleft()
            channel = consumer.connection.channels[consumer.channel]
            tag = next(channel.tags)
            if not consumer.no_ack:
                channel.unacked[tag] = (queue, stored, consumer)
                consumer.unacked += 1
            deliver = spec.Basic.Deliver(consumer.tag, tag, stored.redelivered, stored.exchange, stored.key)
            consumer.connection.send_content(consumer.channel, deliver, stored)

    def channel_ended(self, connection: FakeRabbitConnection, number: int) -> None:
        """What it had and did not acknowledge goes back."""
        channel = connection.channels.pop(number, None)
        if channel is None:
            return
        for queue, consumer in channel.consumers.values():
            if consumer in queue.consumers:
                queue.consumers.remove(consumer)
        touched = {queue.name: queue for queue, _ in channel.consumers.values()}
        for tag in sorted(channel.unacked, reverse=True):
            queue, stored, _ = channel.unacked[tag]
            stored.redelivered = True
            queue.messages.appendleft(stored)
            touched[queue.name] = queue
        for queue in touched.values():
            self._ended_or_pumped(queue)

    def left(self, queue: Queue, consumer: Consumer) -> None:
        if consumer in queue.consumers:
            queue.consumers.remove(consumer)
        self._ended_or_pumped(queue)

    def _ended_or_pumped(self, queue: Queue) -> None:
        if queue.auto_delete and not queue.consumers:
            self.delete(queue)
        else:
            self.pump(queue)

    def delete(self, queue: Queue) -> None:
        """Remove a queue; its consumers are told."""
        self.queues.pop(queue.name, None)
        self.bindings = {each: None for each in self.bindings if each[:2] != ("queue", queue.name)}
        for consumer in queue.consumers:
            connection, number = consumer.connection, consumer.channel
            if connection in self.connections and number in connection.channels:
                connection.channels[number].consumers.pop(consumer.tag, None)
                connection.send(number, spec.Basic.Cancel(consumer.tag, True))
        queue.consumers.clear()
