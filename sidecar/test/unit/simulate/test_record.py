"""A broken promise is seen, each kind of it; what is kept is not taken for one."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.simulate.record import CallRecord, MessageRecord, Observations, SubscriberRecord


class Calls(SynchronousTestCase):
    def judged(self, call: CallRecord) -> str:
        return "; ".join(Observations(calls={7: call}).judged())

    def test_kept(self) -> None:
        """It ran once and got its own answer; it never ran and was told so; it was late and nobody could help."""
        self.assertEqual(self.judged(CallRecord(1.0, 5.0, ran=1, answered=2.0, status=200, echo=7)), "")
        self.assertEqual(self.judged(CallRecord(1.0, 5.0, ran=0, answered=2.0, status=502)), "")
        self.assertEqual(self.judged(CallRecord(1.0, 5.0, ran=1, answered=60.0, status=504, excused=55.0)), "")

    def test_broken(self) -> None:
        """It ran twice, was never answered, was answered late, or with what belongs to another."""
        self.assertIn("ran 2 times", self.judged(CallRecord(1.0, 5.0, ran=2, answered=2.0, status=200, echo=7)))
        self.assertIn("never answered", self.judged(CallRecord(1.0, 5.0)))
        self.assertIn("after 7.5", self.judged(CallRecord(1.0, 5.0, answered=8.5, status=504)))
        self.assertIn("belongs to 8", self.judged(CallRecord(1.0, 5.0, ran=1, answered=2.0, status=200, echo=8)))
        self.assertIn("ran 0 times", self.judged(CallRecord(1.0, 5.0, ran=0, answered=2.0, status=200, echo=7)))


class Registrations(SynchronousTestCase):
    def setUp(self) -> None:
        self.record = Observations()

    def register(self, at: float, ttl: float) -> None:
        self.record.began("app")
        self.record.registered("app", at, at + 0.1, ttl, True)

    def look(self, at: float, there: bool) -> list[str]:
        self.record.began("app")
        self.record.looked("app", at, at + 0.1, there)
        return self.record.judged()

    def test_kept(self) -> None:
        """It is there until its TTL is over, may be there a while longer, and then is not."""
        self.register(1.0, 10.0)
        for at, there in ((5.0, True), (12.0, False), (12.0, True), (60.0, False)):
            self.assertEqual(self.look(at, there), [])

    def test_broken(self) -> None:
        """It is gone before its time; it is there long after."""
        self.register(1.0, 10.0)
        self.assertIn("is not there", self.look(5.0, False)[0])
        self.setUp()
        self.register(1.0, 10.0)
        self.assertIn("still there", self.look(60.0, True)[0])

    def test_deregistered(self) -> None:
        """What was taken out is gone at once."""
        self.register(1.0, 100.0)
        self.record.began("app")
        self.record.deregistered("app", 5.0, True)
        self.assertEqual(self.look(6.0, False), [])
        self.assertIn("still there", self.look(7.0, True)[0])

    def test_doubt(self) -> None:
        """While two requests about it overlap nothing can be said."""
        self.register(1.0, 100.0)
        self.record.began("app")
        self.assertEqual(self.look(5.0, False), [])

    def test_order(self) -> None:
        """Of registrations that overlapped nobody knows which was done last, so no TTL is sure before the next."""
        self.record.began("app")
        self.record.began("app")
        for ttl in (100.0, 1.0):
            self.record.registered("app", 1.0, 2.0, ttl, True)
        for at, there in ((1.5, False), (60.0, True)):
            self.assertEqual(self.look(at, there), [])
        self.register(61.0, 1.0)
        self.assertIn("still there", self.look(100.0, True)[0])

    def test_pause(self) -> None:
        """A sidecar that stood still gives owners time to renew."""
        self.register(1.0, 10.0)
        self.record.stood_still(60.0)
        self.assertEqual(self.look(70.0, True), [])


class Messages(SynchronousTestCase):
    def judged(self, *heard: SubscriberRecord) -> str:
        messages = {n: MessageRecord("news", float(n), n + 0.5) for n in (1, 2, 3)}
        return "; ".join(Observations(subscriptions=list(heard), messages=messages).judged())

    def test_kept(self) -> None:
        """Each subscriber hears each message once, in one order; members of a queue share them; who came late or was
        leaving may lack some."""
        everything = SubscriberRecord("news", "", 0.0, None, [1, 2, 3])
        late = SubscriberRecord("news", "", 1.5, None, [2, 3])
        early = SubscriberRecord("news", "", 0.0, 2.0, [1])
        queue = [SubscriberRecord("news", "q", 0.0, None, [1, 3]), SubscriberRecord("news", "q", 0.0, None, [2])]
        self.assertEqual(self.judged(everything, late, early, *queue), "")

    def test_broken(self) -> None:
        """One is missing, comes twice, comes in another order, or reaches two members of a queue."""
        self.assertIn("did not hear it", self.judged(SubscriberRecord("news", "", 0.0, None, [1, 3])))
        self.assertIn("twice", self.judged(SubscriberRecord("news", "", 0.0, None, [1, 2, 2, 3])))
        orders = [SubscriberRecord("news", "", 0.0, None, order) for order in ([1, 2, 3], [1, 3, 2])]
        self.assertIn("another order", self.judged(*orders))
        members = [SubscriberRecord("news", "q", 0.0, None, [1]), SubscriberRecord("news", "q", 0.0, None, [1, 2, 3])]
        self.assertIn("reached 2 members", self.judged(*members))
