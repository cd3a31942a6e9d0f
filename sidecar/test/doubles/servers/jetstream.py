"""The JetStream of a NATS server in little: streams of one subject, and consumers that push to a group."""

from __future__ import annotations

import json
import random
from typing import Any

from attrs import define, field

from sidecar.test.doubles.servers.nats import FakeNats, FakeNatsConnection, matches


@define(eq=False)
class PushConsumer:
    """:ivar waiting: sequence numbers that nobody has got yet. :ivar given: how often each was delivered."""

    stream: str
    name: str
    config: dict[str, Any]
    waiting: list[int] = field(factory=list)
    given: dict[int, int] = field(factory=dict)


@define(eq=False)
class FakeJetStream(FakeNats):
    """:ivar streams: by name, what each holds. :ivar consumers: by stream and name. :ivar enabled: as with ``-js``."""

    enabled: bool = True
    streams: dict[str, list[bytes]] = field(factory=dict)
    configs: dict[str, dict[str, Any]] = field(factory=dict)
    consumers: dict[tuple[str, str], PushConsumer] = field(factory=dict)

    def route(self, subject: str, reply: str, payload: bytes, sender: FakeNatsConnection | None = None) -> None:
        if subject.startswith("$JS.API."):
            self._answer(reply, self._asked(subject.removeprefix("$JS.API."), payload) if self.enabled else None)
        elif subject.startswith("$JS.ACK."):
            self._acknowledged(subject, payload)
        else:
            super().route(subject, reply, payload, sender)
            self._store(subject, reply, payload)
        self.subscribed()

    def subscribed(self) -> None:
        for consumer in list(self.consumers.values()):
            self._pump(consumer)

    def _answer(self, reply: str, answer: dict[str, Any] | None) -> None:
        super().route(reply, "", b"" if answer is None else json.dumps(answer).encode())

    def _store(self, subject: str, reply: str, payload: bytes) -> None:
        for name, config in self.configs.items():
            if any(matches(pattern, subject) for pattern in config["subjects"]):
                self.streams[name].append(payload)
                number = len(self.streams[name])
                for consumer in self.consumers.values():
                    if consumer.stream == name:
                        consumer.waiting.append(number)
                if reply:
                    self._answer(reply, {"stream": name, "seq": number})

    def _asked(self, what: str, payload: bytes) -> dict[str, Any]:
        asked = json.loads(payload or b"{}")
        verb, _, rest = what.partition(".")
        action, _, name = rest.partition(".")
        if (verb, action) == ("STREAM", "NAMES"):
            found = [
                name
                for name, config in self.configs.items()
                if any(matches(pattern, asked["subject"]) for pattern in config["subjects"])
            ]
            return {"streams": found or None, "total": len(found)}
        if (verb, action) == ("STREAM", "CREATE"):
            self.configs[name], self.streams[name] = asked, []
            return {"config": asked}
        if (verb, action) == ("CONSUMER", "DURABLE"):
            _, stream, group = name.split(".")
            self.consumers[stream, group] = PushConsumer(stream, group, asked["config"])
            return {"config": asked["config"]}
        stream, _, group = name.partition(".")
        consumer = self.consumers.get((stream, group))
        if consumer is None:
            return {"error": {"code": 404, "description": "consumer not found"}}
        if action == "DELETE":
            del self.consumers[stream, group]
        return {"config": consumer.config}

    def _pump(self, consumer: PushConsumer) -> None:
        where, group = consumer.config["deliver_subject"], consumer.config["deliver_group"]
        listening = [
            (connection, number)
            for connection in self.connections
            for number, subscription in connection.subscriptions.items()
            if subscription == (where, group)
        ]
        while consumer.waiting and listening:
            number = consumer.waiting.pop(0)
            consumer.given[number] = given = consumer.given.get(number, 0) + 1
            connection, subscription = random.choice(listening)
            reply = f"$JS.ACK.{consumer.stream}.{consumer.name}.{given}.{number}.{number}.0.0"
            connection.send(subscription, where, reply, self.streams[consumer.stream][number - 1])

    def _acknowledged(self, subject: str, payload: bytes) -> None:
        words = subject.split(".")
        consumer = self.consumers.get((words[2], words[3]))
        if payload == b"-NAK" and consumer is not None:
            consumer.waiting.insert(0, int(words[5]))
