"""What has to stand on a RabbitMQ server before messages pass: exchanges, queues, and what binds them.

go-micro's exchange ``micro`` is not durable and must not be, since its programs declare it so. Sidecars publish to a
durable exchange of their own, which is bound to ``micro``, and durable queues are bound to both: what a sidecar
published reaches them whether ``micro`` is there or not, and once in any case.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

from sidecar.errors import EngineUnavailable, Forbidden, SidecarError, TopicInvalid
from sidecar.net.amqp.link import AmqpSession, words
from sidecar.wire.broker.rabbitmq import DURABLE_EXCHANGE, EXCHANGE

if TYPE_CHECKING:
    from pika.adapters.twisted_connection import TwistedChannel

T = TypeVar("T")

#: AMQP 0-9-1, 1.4, reply codes.
ACCESS_REFUSED, NOT_FOUND, LOCKED, PRECONDITION_FAILED = 403, 404, 405, 406


@frozen
class QueueShape:
    """How a queue is declared.

    :ivar name: "" for one that the server names and that ends with our connection.
    :ivar durable: whether it stays while nobody listens; else it ends with its last consumer, as go-micro's do.
    """

    name: str
    durable: bool = False


async def trying(session: AmqpSession, work: Callable[[TwistedChannel], Awaitable[T]]) -> T:
    """Do ``work`` on a channel of its own, which its failure may close."""
    channel = await session.channel()
    try:
        return await work(channel)
    finally:
        if channel.is_open:
            channel.close()


async def declare_exchanges(session: AmqpSession) -> None:
    """Have both exchanges stand, bound."""

    async def go_micros(channel: TwistedChannel) -> None:
        await session.within(channel.exchange_declare(EXCHANGE, "topic"))

    async def ours(channel: TwistedChannel) -> None:
        await session.within(channel.exchange_declare(DURABLE_EXCHANGE, "topic", durable=True))
        await session.within(channel.exchange_bind(EXCHANGE, DURABLE_EXCHANGE, "#"))

    try:
        await trying(session, go_micros)
    except Exception as error:
        # It is there as durable, or we may not declare it: to bind it is all that is needed.
        if getattr(error, "reply_code", 0) not in (PRECONDITION_FAILED, ACCESS_REFUSED):
            raise
    await trying(session, ours)


async def declare_queue(session: AmqpSession, channel: TwistedChannel, shape: QueueShape) -> str:
    """Have the queue stand. :returns: its name."""
    private = not shape.name
    declared = await session.within(
        channel.queue_declare(shape.name, durable=shape.durable, auto_delete=not shape.durable, exclusive=private)
    )
    name: str = declared.method.queue
    return name


async def bind(session: AmqpSession, channel: TwistedChannel, queue: str, topic: str, durable: bool) -> None:
    """Have ``queue`` get what is published to ``topic`` (or to what it matches)."""
    if durable:
        await session.within(channel.queue_bind(queue, DURABLE_EXCHANGE, topic))
    await session.within(channel.queue_bind(queue, EXCHANGE, topic))


async def bind_again(session: AmqpSession, queue: str, topic: str) -> None:
    """Bind a durable queue that nobody here listens to now, if it is still there."""

    async def work(channel: TwistedChannel) -> None:
        await bind(session, channel, queue, topic, True)

    try:
        await trying(session, work)
    except Exception as error:
        if getattr(error, "reply_code", 0) not in (NOT_FOUND, ACCESS_REFUSED):
            raise


def refusal(error: Exception, shape: QueueShape) -> SidecarError:
    """What a server's (or the connection's) failure to give us the queue means, in words."""
    code = getattr(error, "reply_code", 0)
    if isinstance(error, SidecarError):
        return error
    if code == PRECONDITION_FAILED and shape.durable:
        return TopicInvalid(
            f"durable: the queue {shape.name!r} exists and is not durable: end those who listen to it, "
            f"or choose another name ({words(error)})"
        )
    if code == PRECONDITION_FAILED:
        return TopicInvalid(
            f"queue: the queue {shape.name!r} exists and is durable: listen with durable={shape.name}, "
            f"or choose another name ({words(error)})"
        )
    if code == LOCKED:
        return TopicInvalid(f"queue: {shape.name!r} belongs to one connection of somebody else's ({words(error)})")
    if code == ACCESS_REFUSED:
        return Forbidden(f"RabbitMQ does not let us use the queue {shape.name!r}: {words(error)}")
    return EngineUnavailable(f"RabbitMQ did not subscribe us: {words(error)}")
