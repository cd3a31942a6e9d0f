"""What every broker promises. A subclass says how to make one; the tests stay the same."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.trial.unittest import TestCase

from sidecar.errors import EngineUnavailable, SidecarError, TopicInvalid
from sidecar.interfaces import IBroker, ISubscription
from sidecar.model import ANONYMOUS, Message

JSON = {"Content-Type": "application/json"}

#: Topics that some engine or other gives a meaning to, or cannot carry.
ODD_TOPICS = (
    "a.b.c",
    "go.micro.topic-1_x",
    "UPPER",
    "größe",
    "a b",
    "tab\tbed",
    "a*",
    "a.*",
    "a.>",
    ">",
    ".a",
    "a.",
    "a..b",
    "a/b",
    "a?b=c&d",
    "a#b",
    "%2e%2e",
    "$SYS.x",
    "_INBOX.x",
    "a\0b",
    "a\r\nb",
    "x" * 300,
    "x" * 100_000,
)


def run(coroutine: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
    """For ``return run(self._test())``: trial waits for the Deferred."""
    return ensureDeferred(coroutine)


async def _settled(result: Any) -> Any:
    """``result``, waited for when it is a Deferred."""
    return await result if isinstance(result, Deferred) else result


@define(eq=False)
class Collector:
    """A subscriber that keeps what it gets. :ivar messages: what it got, in order."""

    messages: list[Message] = field(factory=list)
    topics: list[str] = field(factory=list)

    def __call__(self, topic: str, message: Message) -> None:
        self.topics.append(topic)
        self.messages.append(message)

    def has(self, count: int) -> bool:
        """Whether at least ``count`` messages came."""
        return len(self.messages) >= count

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.messages]


class BrokerContract(TestCase):
    """Subclass it and give :meth:`make_broker`.

    Import this module, not the class (``from sidecar.test.contracts import broker``): trial runs every TestCase whose
    name it finds in a test module.
    """

    timeout = 120
    #: A topic that none of the odd ones is; one with a dot where the broker can carry that.
    bystander = "a.zz"

    def make_broker(self) -> IBroker | Deferred[IBroker]:
        """:returns: a broker that is started and connected, alone on its engine (stop it by addCleanup)."""
        raise NotImplementedError

    def until(self, reached: Callable[[], object], what: str, patience: float = 30.0) -> Deferred[None]:
        """Let time pass until ``reached()`` is true. Over a Clock, override this to advance it.

        :param what: what is waited for, for the failure's text. :param patience: seconds.
        """
        from twisted.internet import reactor

        async def poll() -> None:
            deadline = reactor.seconds() + patience
            while not reached():
                if reactor.seconds() > deadline:
                    self.fail(f"not within {patience} s: {what}")
                await task.deferLater(reactor, 0.01)

        return Deferred.fromCoroutine(poll())

    def quiet(self, seconds: float = 0.2) -> Deferred[None]:
        """Let time pass in which something wrong would show itself. Over a Clock, override this to advance it."""
        from twisted.internet import reactor

        return task.deferLater(reactor, seconds)

    async def _broker(self) -> IBroker:
        broker: IBroker = await _settled(self.make_broker())
        return broker

    # --- delivery ---------------------------------------------------------------------------------------------------

    def test_everyone_hears(self) -> Deferred[None]:
        """Each subscriber of a topic gets each message once; those of other topics get none."""

        async def test() -> None:
            broker = await self._broker()
            first, second, other = Collector(), Collector(), Collector()
            await broker.subscribe("news", first, None, ANONYMOUS)
            await broker.subscribe("news", second, None, ANONYMOUS)
            await broker.subscribe("weather", other, None, ANONYMOUS)
            await broker.publish("news", Message(JSON, b'{"a":1}'), ANONYMOUS)
            await self.until(lambda: first.messages and second.messages, "both hear it")
            await self.quiet()
            self.assertEqual(first.bodies, [b'{"a":1}'])
            self.assertEqual(second.bodies, [b'{"a":1}'])
            self.assertEqual(first.topics, ["news"])
            self.assertEqual(other.bodies, [])

        return run(test())

    def test_nobody_hears(self) -> Deferred[None]:
        """To publish where nobody listens is no error."""

        async def test() -> None:
            broker = await self._broker()
            await broker.publish("nobody", Message(JSON, b"{}"), ANONYMOUS)

        return run(test())

    def test_no_message_of_the_past(self) -> Deferred[None]:
        """A subscriber hears what is published after its subscription fired, and nothing from before."""

        async def test() -> None:
            broker = await self._broker()
            early, late = Collector(), Collector()
            await broker.subscribe("t", early, None, ANONYMOUS)
            await broker.publish("t", Message(JSON, b"1"), ANONYMOUS)
            await self.until(lambda: early.messages, "the early one hears the first")
            await broker.subscribe("t", late, None, ANONYMOUS)
            await broker.publish("t", Message(JSON, b"2"), ANONYMOUS)
            await self.until(lambda: late.messages and len(early.messages) == 2, "both hear the second")
            self.assertEqual(late.bodies, [b"2"])
            self.assertEqual(early.bodies, [b"1", b"2"])

        return run(test())

    def test_header_and_body(self) -> Deferred[None]:
        """Headers arrive as they were written (more may be added), bodies byte for byte: empty, binary and large."""

        async def test() -> None:
            broker = await self._broker()
            sub = Collector()
            await broker.subscribe("t", sub, None, ANONYMOUS)
            bodies = [b"", b"plain", bytes(range(256)), "größe".encode(), b"\xff\xfe", b"x" * 200_000]
            header = {"Content-Type": "application/json", "X-Custom": "wert größe", "x-lower": "1", "Empty": ""}
            for count, body in enumerate(bodies, 1):
                await broker.publish("t", Message(header, body), ANONYMOUS)
                await self.until(partial(sub.has, count), f"body {count}")
            self.assertEqual(sub.bodies, bodies)
            for message in sub.messages:
                self.assertEqual({**message.header, **header}, dict(message.header))

        return run(test())

    def test_order(self) -> Deferred[None]:
        """One publisher's messages reach one subscriber in the order in which they were taken."""

        async def test() -> None:
            broker = await self._broker()
            sub = Collector()
            await broker.subscribe("t", sub, None, ANONYMOUS)
            sent = [b"%d" % number for number in range(200)]
            for body in sent:
                await broker.publish("t", Message(JSON, body), ANONYMOUS)
            await self.until(lambda: len(sub.messages) >= len(sent), "all arrive")
            self.assertEqual(sub.bodies, sent)

        return run(test())

    def test_many_at_once(self) -> Deferred[None]:
        """Messages published without waiting in between all arrive, each once."""

        async def test() -> None:
            broker = await self._broker()
            sub = Collector()
            await broker.subscribe("t", sub, None, ANONYMOUS)
            sent = [b"%d" % number for number in range(200)]
            await gatherResults([broker.publish("t", Message(JSON, body), ANONYMOUS) for body in sent])
            await self.until(lambda: len(sub.messages) >= len(sent), "all arrive")
            await self.quiet()
            self.assertEqual(sorted(sub.bodies), sorted(sent))

        return run(test())

    # --- queues -----------------------------------------------------------------------------------------------------

    def test_queue_shares(self) -> Deferred[None]:
        """Exactly one member of a queue gets each message, and each member gets some."""

        async def test() -> None:
            broker = await self._broker()
            members = [Collector(), Collector(), Collector()]
            for member in members:
                await broker.subscribe("work", member, "group", ANONYMOUS)
            sent = [b"%d" % number for number in range(120)]
            for body in sent:
                await broker.publish("work", Message(JSON, body), ANONYMOUS)
            await self.until(lambda: sum(len(sub.messages) for sub in members) >= len(sent), "all arrive")
            await self.quiet()
            got = [body for sub in members for body in sub.bodies]
            self.assertEqual(sorted(got), sorted(sent))
            for sub in members:
                self.assertTrue(sub.messages, "a member of the queue got nothing of 120 messages")

        return run(test())

    def test_queues_are_apart(self) -> Deferred[None]:
        """Each queue, and each subscriber without one, gets its own copy."""

        async def test() -> None:
            broker = await self._broker()
            plain, red, blue, elsewhere = Collector(), Collector(), Collector(), Collector()
            await broker.subscribe("t", plain, None, ANONYMOUS)
            await broker.subscribe("t", red, "red", ANONYMOUS)
            await broker.subscribe("t", blue, "blue", ANONYMOUS)
            await broker.subscribe("u", elsewhere, "red", ANONYMOUS)
            sent = [b"%d" % number for number in range(10)]
            for body in sent:
                await broker.publish("t", Message(JSON, body), ANONYMOUS)
            await self.until(lambda: all(len(sub.messages) >= 10 for sub in (plain, red, blue)), "all three hear all")
            await self.quiet()
            for sub in (plain, red, blue):
                self.assertEqual(sub.bodies, sent)
            self.assertEqual(elsewhere.bodies, [])

        return run(test())

    def test_queue_member_leaves(self) -> Deferred[None]:
        """The share of a member that left goes to those that stay."""

        async def test() -> None:
            broker = await self._broker()
            stays, leaves = Collector(), Collector()
            await broker.subscribe("t", stays, "q", ANONYMOUS)
            place = await broker.subscribe("t", leaves, "q", ANONYMOUS)
            await place.cancel()
            sent = [b"%d" % number for number in range(20)]
            for body in sent:
                await broker.publish("t", Message(JSON, body), ANONYMOUS)
            await self.until(lambda: len(stays.messages) >= len(sent), "the one that stayed hears all")
            self.assertEqual(stays.bodies, sent)
            self.assertEqual(leaves.bodies, [])

        return run(test())

    # --- leaving ----------------------------------------------------------------------------------------------------

    def test_cancel(self) -> Deferred[None]:
        """After ``cancel`` nothing is delivered; cancelling twice is no error; the others hear on."""

        async def test() -> None:
            broker = await self._broker()
            stays, leaves = Collector(), Collector()
            await broker.subscribe("t", stays, None, ANONYMOUS)
            place = await broker.subscribe("t", leaves, None, ANONYMOUS)
            await place.cancel()
            await place.cancel()
            await broker.publish("t", Message(JSON, b"x"), ANONYMOUS)
            await self.until(lambda: stays.messages, "the one that stayed hears it")
            await self.quiet()
            self.assertEqual(leaves.bodies, [])

        return run(test())

    def test_cancel_between(self) -> Deferred[None]:
        """``deliver`` is not called after ``cancel``, even for a message that was published before."""

        async def test() -> None:
            broker = await self._broker()
            sub = Collector()
            place = await broker.subscribe("t", sub, None, ANONYMOUS)
            publishing = broker.publish("t", Message(JSON, b"x"), ANONYMOUS)
            before = len(sub.messages)
            cancelling = place.cancel()
            await publishing
            await cancelling
            await self.quiet()
            self.assertEqual(len(sub.messages), before)

        return run(test())

    def test_come_back(self) -> Deferred[None]:
        """Who left may subscribe again."""

        async def test() -> None:
            broker = await self._broker()
            sub = Collector()
            for number in range(3):
                place = await broker.subscribe("t", sub, None, ANONYMOUS)
                await broker.publish("t", Message(JSON, b"%d" % number), ANONYMOUS)
                await self.until(partial(sub.has, number + 1), f"round {number}")
                await place.cancel()
            self.assertEqual(sub.bodies, [b"0", b"1", b"2"])

        return run(test())

    def test_cancel_while_delivering(self) -> Deferred[None]:
        """A subscriber may leave from within its own ``deliver``."""

        async def test() -> None:
            broker = await self._broker()
            places: list[ISubscription] = []
            once, stays = Collector(), Collector()

            def leave(topic: str, message: Message) -> None:
                once(topic, message)
                places[0].cancel()

            places.append(await broker.subscribe("t", leave, None, ANONYMOUS))
            await broker.subscribe("t", stays, None, ANONYMOUS)
            for body in (b"1", b"2"):
                await broker.publish("t", Message(JSON, body), ANONYMOUS)
            await self.until(lambda: len(stays.messages) == 2, "the other one hears both")
            await self.quiet()
            self.assertEqual(once.bodies, [b"1"])

        return run(test())

    # --- never inside, never hurting --------------------------------------------------------------------------------

    def test_never_inside_publish(self) -> Deferred[None]:
        """``deliver`` is not called before ``publish`` returned."""

        async def test() -> None:
            broker = await self._broker()
            sub = Collector()
            await broker.subscribe("t", sub, None, ANONYMOUS)
            publishing = broker.publish("t", Message(JSON, b"x"), ANONYMOUS)
            self.assertEqual(sub.bodies, [])
            await publishing
            await self.until(lambda: sub.messages, "it arrives")

        return run(test())

    def test_publish_from_within(self) -> Deferred[None]:
        """A subscriber may publish and subscribe from within ``deliver``, and is not called inside itself."""

        async def test() -> None:
            broker = await self._broker()
            sub, newcomer = Collector(), Collector()
            depth = [0]
            asked: list[Deferred[Any]] = []

            def deliver(topic: str, message: Message) -> None:
                self.assertEqual(depth[0], 0)
                depth[0] += 1
                sub(topic, message)
                if message.body == b"1":
                    asked.append(broker.subscribe("t", newcomer, None, ANONYMOUS))
                    asked.append(broker.publish("t", Message(JSON, b"2"), ANONYMOUS))
                depth[0] -= 1

            await broker.subscribe("t", deliver, None, ANONYMOUS)
            await broker.publish("t", Message(JSON, b"1"), ANONYMOUS)
            await self.until(lambda: len(sub.messages) == 2, "the second message arrives")
            await gatherResults(asked)
            self.assertEqual(sub.bodies, [b"1", b"2"])

        return run(test())

    def test_one_that_fails(self) -> Deferred[None]:
        """What a subscriber raises is logged, and neither the others nor its own next message suffer."""

        async def test() -> None:
            broker = await self._broker()
            failing, well = Collector(), Collector()

            def fail(topic: str, message: Message) -> None:
                failing(topic, message)
                raise ZeroDivisionError("meant by the test")

            await broker.subscribe("t", fail, None, ANONYMOUS)
            await broker.subscribe("t", well, None, ANONYMOUS)
            for body in (b"1", b"2"):
                await broker.publish("t", Message(JSON, body), ANONYMOUS)
            await self.until(lambda: len(well.messages) == 2 and len(failing.messages) == 2, "all hear both")
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

        return run(test())

    # --- names and states -------------------------------------------------------------------------------------------

    def test_odd_topics(self) -> Deferred[None]:
        """Any topic is carried to exactly its own subscribers, or refused as TopicInvalid by both sides alike."""

        async def test() -> None:
            broker = await self._broker()
            bystander = Collector()
            await broker.subscribe(self.bystander, bystander, None, ANONYMOUS)
            for topic in ODD_TOPICS:
                sub = Collector()
                shown = ascii(topic[:40])
                try:
                    place = await broker.subscribe(topic, sub, None, ANONYMOUS)
                except TopicInvalid as error:
                    self.assertTrue(error.detail)
                    with self.assertRaises(TopicInvalid, msg=f"publish took {shown}, which subscribe refused"):
                        await broker.publish(topic, Message(JSON, b"x"), ANONYMOUS)
                    continue
                await broker.publish(topic, Message(JSON, b"x"), ANONYMOUS)
                await self.until(partial(sub.has, 1), f"{shown} is heard")
                self.assertEqual((sub.topics, sub.bodies), ([topic], [b"x"]))
                await place.cancel()
            self.assertEqual(bystander.bodies, [])

        return run(test())

    def test_no_topic(self) -> Deferred[None]:
        """The empty topic is refused by both sides."""

        async def test() -> None:
            broker = await self._broker()
            with self.assertRaises(TopicInvalid):
                await broker.publish("", Message(JSON, b"x"), ANONYMOUS)
            with self.assertRaises(TopicInvalid):
                await broker.subscribe("", Collector(), None, ANONYMOUS)

        return run(test())

    def test_odd_queue(self) -> Deferred[None]:
        """A queue name that the engine cannot carry is refused as TopicInvalid; any other works."""

        async def test() -> None:
            broker = await self._broker()
            for queue in ("a.b", "a b", "a\r\nb", "größe", "x" * 300):
                sub = Collector()
                try:
                    place = await broker.subscribe("t", sub, queue, ANONYMOUS)
                except TopicInvalid:
                    continue
                await broker.publish("t", Message(JSON, b"x"), ANONYMOUS)
                await self.until(partial(sub.has, 1), f"queue {queue!a} hears")
                await place.cancel()

        return run(test())

    def test_state(self) -> Deferred[None]:
        """A broker that works says so, and names its kind."""

        async def test() -> None:
            state = (await self._broker()).state()
            self.assertTrue(state.connected)
            self.assertTrue(state.kind)
            self.assertIsNone(state.stale_since)

        return run(test())

    def test_stopped(self) -> Deferred[None]:
        """A broker that was stopped refuses at once instead of losing messages or hanging."""

        async def test() -> None:
            broker = await self._broker()
            sub = Collector()
            place = await broker.subscribe("t", sub, None, ANONYMOUS)
            await _settled(broker.stopService())  # type: ignore[attr-defined]  # backends are Services too
            with self.assertRaises(EngineUnavailable):
                await broker.publish("t", Message(JSON, b"x"), ANONYMOUS)
            with self.assertRaises(SidecarError):
                await broker.subscribe("t", Collector(), None, ANONYMOUS)
            await place.cancel()

        return run(test())


class SharedBrokerContract(BrokerContract):
    """What brokers whose engine is shared promise besides: two processes on one engine hear each other."""

    def make_peer(self) -> IBroker | Deferred[IBroker]:
        """:returns: another started broker on the engine of the one that :meth:`make_broker` gave last."""
        raise NotImplementedError

    async def _peer(self) -> IBroker:
        peer: IBroker = await _settled(self.make_peer())
        return peer

    def test_peers_hear(self) -> Deferred[None]:
        """What one publishes, the subscribers of both hear, once each."""

        async def test() -> None:
            here, there = await self._broker(), await self._peer()
            subs = [Collector(), Collector()]
            await here.subscribe("t", subs[0], None, ANONYMOUS)
            await there.subscribe("t", subs[1], None, ANONYMOUS)
            await self.quiet()
            await here.publish("t", Message(JSON, b"1"), ANONYMOUS)
            await self.until(
                lambda: all(len(sub.messages) == 1 for sub in subs),
                "both hear what was published here",
            )
            await there.publish("t", Message(JSON, b"2"), ANONYMOUS)
            await self.until(
                lambda: all(len(sub.messages) == 2 for sub in subs),
                "both hear what was published there",
            )
            await self.quiet()
            for sub in subs:
                self.assertEqual(sub.bodies, [b"1", b"2"])

        return run(test())

    def test_peers_share_queues(self) -> Deferred[None]:
        """A queue with members on both sides gets each message once, and both sides get some."""

        async def test() -> None:
            here, there = await self._broker(), await self._peer()
            subs = [Collector(), Collector()]
            await here.subscribe("t", subs[0], "q", ANONYMOUS)
            await there.subscribe("t", subs[1], "q", ANONYMOUS)
            await self.quiet()
            sent = [b"%d" % number for number in range(100)]
            for number, body in enumerate(sent):
                await (here, there)[number % 2].publish("t", Message(JSON, body), ANONYMOUS)
            await self.until(lambda: sum(len(sub.messages) for sub in subs) >= len(sent), "all arrive")
            await self.quiet()
            self.assertEqual(sorted(body for sub in subs for body in sub.bodies), sorted(sent))
            for sub in subs:
                self.assertTrue(sub.messages, "one side of the queue got nothing of 100 messages")

        return run(test())
