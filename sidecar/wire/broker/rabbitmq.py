"""Messages as go-micro's RabbitMQ plugin writes and reads them. Pure.

:source: go-micro/plugins ``v4/broker/rabbitmq/rabbitmq.go@v1.2.0``, micro/go-micro ``broker/rabbitmq@v5.30.0``
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar.errors import BadRequest, TopicInvalid
from sidecar.model import Message
from sidecar.wire import messages

#: The topic exchange that go-micro publishes to. Its programs declare it as not durable.
EXCHANGE: Final = "micro"
#: The one that sidecars publish to: durable, and bound to go-micro's.
DURABLE_EXCHANGE: Final = "microsidecar"

#: Said of a message that was delivered before.
REDELIVERED: Final = "Micro-Redelivered"

#: Bytes of the longest name: AMQP 0-9-1, 4.2.5.3, short strings.
MAX_NAME: Final = 255


def headers(message: Message) -> dict[str, str]:
    """The AMQP headers of ``message``: its header as it is.

    :raises BadRequest: a name is too long, or text is not Unicode.
    """
    for name, value in message.header.items():
        try:
            size = len(name.encode())
            value.encode()
        except UnicodeEncodeError:
            raise BadRequest(f"Header.{ascii(name)[:40]}: is not Unicode") from None
        if size > MAX_NAME:
            raise BadRequest(f"Header.{name[:40]}...: names of more than {MAX_NAME} bytes do not fit into AMQP")
    return dict(message.header)


def message(given: Mapping[str, Any] | None, body: bytes, topic: str, content_type: str | None = None) -> Message:
    """Read what came: every header as text, ``Micro-Topic`` from the routing key where it is missing.

    :param content_type: AMQP's own property, which go-micro does not set; it serves where no header says it.
    """
    header = {str(name): _text(value) for name, value in (given or {}).items()}
    known = {name.lower() for name in header}
    if messages.TOPIC.lower() not in known:
        header[messages.TOPIC] = topic
    if content_type and messages.CONTENT_TYPE.lower() not in known:
        header[messages.CONTENT_TYPE] = content_type
    return Message(header, body)


def _text(value: object) -> str:
    """As Go's ``%v`` prints what an AMQP table may hold."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def name_problem(what: str, name: str) -> TopicInvalid | None:
    """Why ``name`` cannot be a topic (a routing key) or a queue, or None."""
    if not name:
        return TopicInvalid(f"{what}: must not be empty")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return TopicInvalid(f"{what} {_shown(name)}: is not Unicode")
    if size > MAX_NAME:
        return TopicInvalid(f"{what} {_shown(name)}: {size} bytes, RabbitMQ takes at most {MAX_NAME}")
    if what != "topic" and name.startswith("amq."):
        return TopicInvalid(f"{what} {_shown(name)}: names that begin with amq. are RabbitMQ's own")
    if what != "topic" and ("\r" in name or "\n" in name):
        return TopicInvalid(f"{what} {_shown(name)}: RabbitMQ takes line breaks out of the names of queues")
    return None


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:80] + "...")


def is_pattern(topic: str) -> bool:
    """Whether a subscription to ``topic`` hears more than that one topic."""
    return ("*" in topic or "#" in topic) and any(word in ("*", "#") for word in topic.split("."))


def matches(pattern: str, topic: str) -> bool:
    """Whether a binding by ``pattern`` gets what is published to ``topic``: ``*`` is one word, ``#`` any number.

    :source: AMQP 0-9-1, 3.1.3.3
    """
    return pattern == topic or _match(pattern.split("."), topic.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    # The places in the pattern at which one may stand after the words so far.
    places = _with_empty_hashes(pattern, {0})
    for word in words:
        moved = set()
        for place in places:
            if place < len(pattern):
                if pattern[place] == "#":
                    moved.add(place)
                elif pattern[place] in ("*", word):
                    moved.add(place + 1)
        places = _with_empty_hashes(pattern, moved)
    return len(pattern) in places


def _with_empty_hashes(pattern: list[str], places: set[int]) -> set[int]:
    reached = set(places)
    for place in places:
        while place < len(pattern) and pattern[place] == "#":
            place += 1
            reached.add(place)
    return reached
