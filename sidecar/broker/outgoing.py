"""The header that makes a message understood by go-micro services of every generation. Pure.

:source: micro/go-micro ``server/rpc_server.go@v1.9.0`` to ``@v4.9.0`` (they find their subscriber by ``Micro-Topic``
    and drop a message without it), ``broker/http_broker.go@v1.18.0``
"""

from __future__ import annotations

from attrs import evolve

from sidecar.model import Message
from sidecar.wire import messages


def addressed(message: Message, topic: str, id: str) -> Message:
    """``message`` with what its publisher left out of the universal header: content type, topic and id.

    :param id: unique to the message, for where it has none.
    """
    header = message.header
    known = {name.lower() for name in header}
    added = {}
    if messages.CONTENT_TYPE.lower() not in known:
        added[messages.CONTENT_TYPE] = messages.content_type(message.body)
    if messages.ID.lower() not in known:
        added[messages.ID] = id
    if header.get(messages.TOPIC) != topic:
        header = {name: value for name, value in header.items() if name.lower() != messages.TOPIC.lower()}
        added[messages.TOPIC] = topic
    return evolve(message, header={**header, **added}) if added else message
