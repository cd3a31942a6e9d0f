"""``/broker``: GET opens a WebSocket that subscribes to a topic and publishes to it, POST publishes one message."""

from __future__ import annotations

from typing import Any

from sidecar.errors import BadRequest
from sidecar.interfaces import IBroker
from sidecar.model import Message, PublishOptions, SubscribeOptions
from sidecar.pubsub.abilities import able
from sidecar.pubsub.subscriber import SubscribeRequest
from sidecar.web import handshake
from sidecar.web.access.grants import check_topic
from sidecar.web.auth import caller_of
from sidecar.web.cors import CorsPolicy
from sidecar.web.params import Params, body, query
from sidecar.web.requests import traces
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer
from sidecar.wire import messages
from sidecar.wire.tracing import traceparent

_TAKEN = Answer(b"", headers=b"")


class BrokerResource(MethodResource):
    """What is published by POST is in the broker's hands when it answers 200."""

    def __init__(self, broker: IBroker, pubsub: handshake.IPubSubSockets, cors: CorsPolicy, max_body: int) -> None:
        """:param max_body: bytes of the largest message that a POST may bring."""
        super().__init__({"GET": self._open, "POST": self._publish})
        self._broker = broker
        self._pubsub = pubsub
        self._cors = cors
        self._max_body = max_body

    def _open(self, request: Any) -> int:
        asked = query(request.uri).expect("topic", "queue", "format", "durable", "ack", "events", "mandatory")
        topic = _topic(asked)
        name = asked.one("format") or ""
        make_frame = messages.FORMATS.get(name)
        if make_frame is None:
            known = ", ".join(sorted(filter(None, messages.FORMATS)))
            raise BadRequest(f"format: {name[:40]} is not known; there are {known}")
        options, publishing = _options(asked), _publishing(asked)
        if options.ack and name:
            raise BadRequest(f"format: {name} has no place for the ID of a message, which ack=1 needs; leave it out")
        able(self._broker, (*options.asked, *publishing.asked))
        handshake.check(
            request, self._cors, "to subscribe to a topic, open a WebSocket; to publish to it, POST the message"
        )
        caller = caller_of(request)
        check_topic(caller, "subscribe", topic)
        self._pubsub.admit(request)
        stated = messages.stated_type(request.fields.get(b"content-type"))
        wanted = SubscribeRequest(
            topic, options.queue, make_frame, stated, caller, options, publishing, traces.of_request(request)
        )
        return self._pubsub.upgrade(request, wanted)

    async def _publish(self, request: Any) -> Answer:
        asked = query(request.uri).expect("topic", "mandatory", "events")
        topic, publishing = _topic(asked), _publishing(asked)
        caller = caller_of(request)
        check_topic(caller, "publish", topic)
        payload = body(request, self._max_body)
        header = messages.header(request.fields_raw, topic, self._pubsub.new_id(), payload)
        trace = traces.of_request(request)
        if trace:
            given = next((name for name in header if name.lower() == "traceparent"), traceparent.HEADER)
            header[given] = trace
        message = Message(header, payload)
        if publishing.plain:
            await self._broker.publish(topic, message, caller)
        else:
            broker = able(self._broker, publishing.asked)
            await broker.publish_with(topic, message, publishing, caller)
        self._pubsub.note_published(topic)
        return _TAKEN


def _topic(asked: Params) -> str:
    topic = asked.one("topic")
    if not topic:
        raise BadRequest("Topic not specified")
    return topic


def _publishing(asked: Params) -> PublishOptions:
    return PublishOptions(asked.flag("mandatory"), asked.flag("events"))


def _options(asked: Params) -> SubscribeOptions:
    queue, durable = asked.one("queue") or None, asked.one("durable") or None
    if durable == "0":
        durable = None
    if durable == "1":
        if queue is None:
            raise BadRequest("durable: 1 makes the queue of queue=NAME durable, and there is none; say durable=NAME")
        durable = queue
    return SubscribeOptions(queue, durable, asked.flag("ack"), asked.flag("events"))
