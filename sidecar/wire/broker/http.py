"""The HTTP broker of go-micro: subscribers are registered, and publishers post to them. All four dialects. Pure.

:source: micro/go-micro ``broker/http_broker.go@d3bfdc79``, ``@v1.13.0`` and ``@v1.18.0``, ``broker/http.go@v2.9.1`` and
    ``@v6.10.0``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final
from urllib.parse import quote

from attrs import field, frozen

from sidecar.errors import BadRequest
from sidecar.model import Fault, Message, Node, Service
from sidecar.wire import faults, messages

#: The version that stands for no queue: each of its nodes gets each message.
BROADCAST: Final = "ff.http.broadcast"
#: Where messages were posted up to v1.18, and since v2.5.
OLD_PATH: Final = "/_sub"
NEW_PATH: Final = "/"
#: In the header of a message: its topic, up to v1.18. Since v2.5 ``Micro-Topic`` says it.
OLD_TOPIC: Final = ":topic"
#: In a node's metadata, ours alone: one subscriber that is registered several times.
SUBSCRIBER: Final = "subscriber"


class Dialect(Enum):
    """A form of the HTTP broker, by the version of go-micro that began it. The newest first: of a subscriber that is
    registered in several, that one is used."""

    V2_5 = "v2.5"
    V1_18 = "v1.18"
    V1_13 = "v1.13"
    V0_1 = "v0.1"


def service_name(dialect: Dialect, topic: str) -> str:
    """Under which name the subscribers of ``topic`` are registered."""
    return {
        Dialect.V2_5: "micro.http.broker",
        Dialect.V1_18: "go.micro.http.broker",
        Dialect.V1_13: topic,
        Dialect.V0_1: f"topic:{topic}",
    }[dialect]


def path(dialect: Dialect) -> str:
    """Where a message for a subscriber of ``dialect`` is posted."""
    return NEW_PATH if dialect is Dialect.V2_5 else OLD_PATH


# --- The records of a subscriber of ours ----------------------------------------------------------------------------


def node_id(dialect: Dialect, topic: str, broker: str, subscriber: str) -> str:
    """An id for one record. A registry wants each to be unique, so no two dialects share one.

    :param broker: unique to the process. :param subscriber: unique to the subscriber.
    """
    return {
        Dialect.V2_5: f"{topic}-{subscriber}",
        Dialect.V1_18: f"{topic}-{broker}.{subscriber}",  # a dash would make one label of it, too long for mDNS
        Dialect.V1_13: f"{broker}.{subscriber}",
        Dialect.V0_1: f"broker-{broker}.{subscriber}",
    }[dialect]


def record(
    dialect: Dialect, topic: str, queue: str | None, identity: str, address: tuple[str, int], id: str
) -> Service:
    """What a subscriber registers.

    :param identity: the subscriber's, the same in all its records. :param address: host and port that it listens on.
    :param id: of the node.
    """
    metadata = {"secure": "false", SUBSCRIBER: identity}
    if dialect is not Dialect.V0_1:
        metadata |= {"broker": "http", "topic": topic}
    host, port = address
    return Service(service_name(dialect, topic), queue or BROADCAST, nodes=(Node(id, host, port, metadata),))


# --- Who is to be posted to -----------------------------------------------------------------------------------------


@frozen
class Target:
    """One subscriber that messages are posted to. :ivar id: of its node. :ivar url: where a message is posted."""

    id: str
    url: str


@frozen
class Subscribers:
    """Who gets the messages of a topic: each of ``everyone``, and one of each queue."""

    everyone: tuple[Target, ...] = ()
    queues: Mapping[str, tuple[Target, ...]] = field(factory=dict)


def subscribers(topic: str, found: Mapping[Dialect, Iterable[Service]]) -> Subscribers:
    """Who gets the messages of ``topic``, a subscriber that is registered in several records once.

    :param found: what the registry has under :func:`service_name` of each dialect.
    """
    everyone: list[Target] = []
    queues: dict[str, list[Target]] = {}
    seen: set[str] = set()
    for dialect in Dialect:
        for service in found.get(dialect, ()):
            for node in service.nodes:
                identity = node.metadata.get(SUBSCRIBER) or node.id
                if identity in seen or not _is_subscriber(dialect, topic, node):
                    continue
                seen.add(identity)
                target = Target(node.id, _url(dialect, node))
                if service.version == BROADCAST:
                    everyone.append(target)
                else:
                    queues.setdefault(service.version, []).append(target)
    return Subscribers(tuple(everyone), {queue: tuple(targets) for queue, targets in queues.items()})


def is_broker(node: Node) -> bool:
    """Whether a node is a subscriber and no service: from v1.13 on a topic's subscribers have its bare name."""
    return node.metadata.get("broker") == "http" and "topic" in node.metadata


def _is_subscriber(dialect: Dialect, topic: str, node: Node) -> bool:
    return dialect is Dialect.V0_1 or (is_broker(node) and node.metadata["topic"] == topic)


def _url(dialect: Dialect, node: Node) -> str:
    scheme = "https" if node.metadata.get("secure") == "true" else "http"
    return f"{scheme}://{node.hostport}{path(dialect)}?id={quote(node.id, safe='')}"


# --- What is posted -------------------------------------------------------------------------------------------------


def encode(message: Message, topic: str) -> bytes:
    """The body of a post that subscribers of every dialect understand: the topic stands under both its names."""
    return messages.encode(Message({**message.header, OLD_TOPIC: topic}, message.body))


def decode(body: bytes) -> tuple[str, Message]:
    """Read a posted message. :returns: its topic, and the message without the old name of the topic.

    :raises BadRequest: it is none, or names no topic.
    """
    try:
        message = messages.decode(body)
    except BadRequest as error:
        raise BadRequest(f"Error parsing request body: {error}") from None
    header = {name: value for name, value in message.header.items() if name != OLD_TOPIC}
    named = next((value for name, value in header.items() if name.lower() == messages.TOPIC.lower()), "")
    topic = named or message.header.get(OLD_TOPIC, "")
    if not topic:
        raise BadRequest("Topic not found")
    return topic, Message(header, message.body)


def refusal(status: int, detail: str) -> bytes:
    """The body of an answer other than 200. Go calls a wrong method a bad request, in the body alone."""
    code = 400 if status == 405 else status
    return faults.encode(Fault("go.micro.broker", code, detail, faults.reason(code)))
