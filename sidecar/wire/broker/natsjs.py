"""go-micro's events on JetStream, and what JetStream itself is asked and answers. Pure.

:source: micro/go-micro ``events/natsjs@v5.30.0``, go-micro/plugins ``v4/events/natsjs@v1.2.0``; JetStream's API as
    https://docs.nats.io/reference/reference-protocols/nats_api_reference has it
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from binascii import b2a_base64
from datetime import datetime, timezone
from typing import Any, Final

import orjson
from attrs import frozen

from sidecar.errors import BadRequest, TopicInvalid
from sidecar.model import Message
from sidecar.wire import messages

#: Said of a message that was delivered before.
REDELIVERED: Final = "Micro-Redelivered"
#: The event's time, among a message's headers.
TIMESTAMP: Final = "Micro-Timestamp"

API: Final = "$JS.API"
ACK: Final = b"+ACK"
NAK: Final = b"-NAK"

#: Nanoseconds until JetStream delivers again what nobody acknowledged: nats.go's default.
ACK_WAIT: Final = 30_000_000_000
#: Nanoseconds after which a consumer of nobody's group goes that nobody listens to any more.
FORGET_AFTER: Final = 300_000_000_000

#: JetStream's own code for what is not there.
NOT_FOUND: Final = 404


def encode(message: Message, topic: str, id: str, now: float) -> bytes:
    """An event as go-micro reads it: the header is its metadata, the body its payload.

    :param now: seconds since the epoch.
    """
    at = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    event = {
        "ID": id,
        "Topic": topic,
        "Timestamp": at,
        "Metadata": dict(message.header),
        "Payload": b2a_base64(message.body, newline=False).decode("ascii"),
    }
    return orjson.dumps(event)


def decode(payload: bytes, topic: str) -> Message:
    """Read an event; its id, topic and time become headers beside its metadata.

    :raises BadRequest: it is none.
    """
    try:
        event = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"event: is not JSON: {error}") from None
    if not isinstance(event, dict) or not any(name.lower() == "payload" for name in event):
        raise BadRequest("event: must be a JSON object with a Payload")
    fields = {name.lower(): value for name, value in event.items()}
    metadata = fields.get("metadata") or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadRequest("Metadata: must be an object of strings")
    try:
        body = b64decode(fields.get("payload") or "", validate=True)
    except (Base64Error, ValueError, TypeError):
        raise BadRequest("Payload: is not base64") from None
    header = dict(metadata)
    known = {name.lower() for name in header}
    added = {
        messages.CONTENT_TYPE: messages.content_type(body),
        messages.TOPIC: str(fields.get("topic") or topic),
        messages.ID: str(fields.get("id") or ""),
        TIMESTAMP: str(fields.get("timestamp") or ""),
    }
    header.update((name, value) for name, value in added.items() if value and name.lower() not in known)
    return Message(header, body)


def name_problem(what: str, name: str) -> TopicInvalid | None:
    """Why ``name`` cannot be the name of a stream or of a consumer, or None."""
    # Of streams with % in their names nats-server 2.9 says that they are there, and delivers nothing from them.
    wrong = [character for character in name if character in ".*>/\\%" or character.isspace()]
    if wrong or not name.isprintable():
        return TopicInvalid(
            f"{what} {name[:80]!a}: no stream or consumer of JetStream has a name with ., *, >, /, % or spaces"
        )
    if len(name.encode("utf-8", "surrogatepass")) > 255:
        return TopicInvalid(f"{what}: JetStream takes names of at most 255 bytes")
    return None


def stream_config(topic: str) -> bytes:
    """The stream that go-micro's consumer makes: the topic's name, that one subject, kept in files."""
    return orjson.dumps(
        {"name": topic, "subjects": [topic], "retention": "limits", "storage": "file", "num_replicas": 1}
    )


def consumer_config(stream: str, group: str, topic: str, inbox: str, lasting: bool) -> bytes:
    """The consumer that go-micro's ``Consume`` makes of a group.

    :param inbox: the subject to deliver to. :param lasting: whether it stays while nobody listens.
    """
    config: dict[str, Any] = {
        "durable_name": group,
        "deliver_subject": inbox,
        "deliver_group": group,
        "deliver_policy": "new",
        "ack_policy": "explicit",
        "ack_wait": ACK_WAIT,
        "max_deliver": -1,
        "filter_subject": topic,
        "replay_policy": "instant",
    }
    if not lasting:
        config["inactive_threshold"] = FORGET_AFTER
    return orjson.dumps({"stream_name": stream, "config": config})


@frozen
class JetStreamAnswer:
    """What JetStream answered. :ivar code: of its error, 0 for none. :ivar text: in words. :ivar fields: the rest."""

    code: int
    text: str
    fields: dict[str, Any]


def answer(payload: bytes) -> JetStreamAnswer:
    """Read an answer; one that cannot be read is an error of code 500."""
    try:
        fields = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return JetStreamAnswer(500, "an answer that is no JSON", {})
    if not isinstance(fields, dict):
        return JetStreamAnswer(500, "an answer that is no object", {})
    error = fields.get("error")
    if isinstance(error, dict):
        return JetStreamAnswer(int(error.get("code") or 500), str(error.get("description") or "an error"), fields)
    return JetStreamAnswer(0, "", fields)


def deliveries(reply: str) -> int:
    """How often a message was delivered, by the subject to acknowledge it at: 1 for the first time.

    :source: ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>``, in newer servers
        with domain and account hash after ``ACK``
    """
    words = reply.split(".")
    place = 4 if len(words) == 9 else 6
    return int(words[place]) if len(words) > place and words[place].isdecimal() else 1
