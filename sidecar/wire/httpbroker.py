"""The HTTP broker of go-micro: subscribers stand in the registry, publishers post to them. All four flavours. Pure.

:source: micro/go-micro ``broker/http_broker.go@d3bfdc79``, ``@v1.13.0`` and ``@v1.18.0``, ``broker/http.go@v2.9.1`` and
    ``@v6.10.0``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal
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
#: In a node's metadata, ours alone: one subscriber that stands in the registry several times.
SUBSCRIBER: Final = "subscriber"

Flavour = Literal["B3", "B2", "B1'", "B1"]
#: The newest first: of a subscriber with several records that one is used.
FLAVOURS: Final[tuple[Flavour, ...]] = ("B3", "B2", "B1'", "B1")


def service_name(flavour: Flavour, topic: str) -> str:
    """Under which name the subscribers of ``topic`` are registered."""
    return {"B3": "micro.http.broker", "B2": "go.micro.http.broker", "B1'": topic, "B1": f"topic:{topic}"}[flavour]


def path(flavour: Flavour) -> str:
    return NEW_PATH if flavour == "B3" else OLD_PATH


# --- The records of a subscriber of ours ----------------------------------------------------------------------------


def node_id(flavour: Flavour, topic: str, broker: str, subscriber: str) -> str:
    """An id for one record. A registry wants each to be unique, so no two flavours share one.

    :param broker: unique to the process. :param subscriber: unique to the subscriber.
    """
    return {
        "B3": f"{topic}-{subscriber}",
        "B2": f"{topic}-{broker}.{subscriber}",  # a dash would make one label of it, too long for mDNS
        "B1'": f"{broker}.{subscriber}",
        "B1": f"broker-{broker}.{subscriber}",
    }[flavour]


def record(flavour: Flavour, topic: str, queue: str | None, identity: str, place: tuple[str, int], id: str) -> Service:
    """What a subscriber registers.

    :param identity: the subscriber's, the same in all its records. :param place: host and port that it listens on.
    :param id: of the node.
    """
    metadata = {"secure": "false", SUBSCRIBER: identity}
    if flavour != "B1":
        metadata |= {"broker": "http", "topic": topic}
    host, port = place
    return Service(service_name(flavour, topic), queue or BROADCAST, nodes=(Node(id, host, port, metadata),))


# --- Who is to be posted to -----------------------------------------------------------------------------------------


@frozen
class Place:
    """One subscriber's place. :ivar url: where a message for it is posted."""

    id: str
    url: str


@frozen
class Audience:
    """Who hears a topic: each place of ``everyone``, and one place of each queue."""

    everyone: tuple[Place, ...] = ()
    queues: Mapping[str, tuple[Place, ...]] = field(factory=dict)


def audience(topic: str, found: Mapping[Flavour, Iterable[Service]]) -> Audience:
    """Who hears ``topic``, a subscriber that stands in several records once.

    :param found: what the registry has under :func:`service_name` of each flavour.
    """
    everyone: list[Place] = []
    queues: dict[str, list[Place]] = {}
    seen: set[str] = set()
    for flavour in FLAVOURS:
        for service in found.get(flavour, ()):
            for node in service.nodes:
                identity = node.metadata.get(SUBSCRIBER) or node.id
                if identity in seen or not _is_subscriber(flavour, topic, node):
                    continue
                seen.add(identity)
                place = Place(node.id, _url(flavour, node))
                if service.version == BROADCAST:
                    everyone.append(place)
                else:
                    queues.setdefault(service.version, []).append(place)
    return Audience(tuple(everyone), {queue: tuple(places) for queue, places in queues.items()})


def is_broker(node: Node) -> bool:
    """Whether a node is a subscriber and no service: from v1.13 a topic's subscribers stand under its bare name."""
    return node.metadata.get("broker") == "http" and "topic" in node.metadata


def _is_subscriber(flavour: Flavour, topic: str, node: Node) -> bool:
    return flavour == "B1" or (is_broker(node) and node.metadata["topic"] == topic)


def _url(flavour: Flavour, node: Node) -> str:
    scheme = "https" if node.metadata.get("secure") == "true" else "http"
    return f"{scheme}://{node.hostport}{path(flavour)}?id={quote(node.id, safe='')}"


# --- What is posted -------------------------------------------------------------------------------------------------


def encode(message: Message, topic: str) -> bytes:
    """The body of a post that subscribers of every flavour understand: the topic stands under both its names."""
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
