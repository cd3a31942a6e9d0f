"""The HTTP broker among go-micro's own publishers and subscribers, all finding one another through a real etcd."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sidecar.broker.http import broker
from sidecar.model import ANONYMOUS, BackendOptions, Message
from sidecar.test.contracts import broker as contract
from sidecar.test.doubles.programs import process, say

reactor: Any = installed

#: Each with records and posts of its own: ``go.micro.http.broker`` at ``/_sub``, and ``micro.http.broker`` at ``/`` in
#: its first and in its last form.
GENERATIONS = ("v1.18.0", "v2.9.1", "v5.30.0")


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


class RealPeers(TestCase):
    skip = process.missing("etcd") or say.missing(*GENERATIONS)
    timeout = 240

    def setUp(self) -> None:
        from sidecar.registry.remote import etcd

        port = process.shared("etcd", process.start_etcd)
        self.flags = ("--broker", "http", "--registry", "etcd", "--registry-address", f"127.0.0.1:{port}")
        self.registry: Any = etcd.build(BackendOptions(reactor, (f"127.0.0.1:{port}",)))
        self.registry.startService()
        self.addCleanup(self.registry.stopService)
        built: Any = broker.build(BackendOptions(reactor, registry=self.registry))
        self.broker = built
        self.broker.startService()
        self.addCleanup(self.broker.stopService)

    async def test_they_publish(self) -> None:
        """What each generation publishes is heard here, once, whether its client or its broker publishes it."""
        for generation in GENERATIONS:
            topic = f"to.us.{generation}"
            sub = contract.Collector()
            await self.broker.subscribe(topic, sub, None, ANONYMOUS)
            for raw in ((), ("--raw",)):
                said = await deferToThread(say.run, generation, "publish", *self.flags, *raw, topic, '{"a":1}')
                self.assertEqual(said[0]["event"], "published")
            await sleep(0.2)
            self.assertEqual([json.loads(body) for body in sub.bodies], [{"a": 1}] * 2, generation)
            for message in sub.messages:
                self.assertEqual(message.header["Content-Type"], "application/json")
                self.assertNotIn(":topic", message.header)

    async def test_they_subscribe(self) -> None:
        """A subscriber of each generation gets what we publish, whether its server or its broker subscribes."""
        for generation in GENERATIONS:
            for raw in ((), ("--raw",)):
                topic = f"to.them.{generation}.{len(raw)}"
                there = await deferToThread(say.running, generation, "subscribe", *self.flags, *raw, topic)
                self.addCleanup(there.stop)
                while not there.messages:
                    await self.broker.publish(topic, Message({"X-Foo": "bar"}, b'{"a":1}'), ANONYMOUS)
                    await sleep(0.2)
                heard = there.messages[0]
                self.assertEqual(json.loads(heard["body"]), {"a": 1})
                self.assertEqual(heard["header"]["X-Foo"], "bar")

    async def test_shared_queue(self) -> None:
        """A queue with a member in Go and one of ours: each message reaches exactly one of them, and both get some."""
        there = await deferToThread(say.running, "v5.30.0", "subscribe", *self.flags, "--raw", "shared.queue", "q")
        self.addCleanup(there.stop)
        sub = contract.Collector()
        await self.broker.subscribe("shared.queue", sub, "q", ANONYMOUS)
        await sleep(1.0)
        for number in range(60):
            await self.broker.publish("shared.queue", Message({}, b"%d" % number), ANONYMOUS)
        await deferToThread(there.heard, 60 - len(sub.messages))
        got = [*(body.decode() for body in sub.bodies), *(event["body"] for event in there.messages)]
        self.assertEqual(sorted(got, key=int), [str(number) for number in range(60)])
        self.assertTrue(sub.messages and there.messages)
