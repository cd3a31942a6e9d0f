"""Topics and their queues."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.broker.topics import Topics


class Recipients(SynchronousTestCase):
    def setUp(self) -> None:
        self.topics: Topics[str] = Topics()

    def test_everyone_and_one_of_each_queue(self) -> None:
        """Plain subscribers get each message, of a queue the next in turn."""
        for queue, member in ((None, "a"), (None, "b"), ("q", "c"), ("q", "d"), ("r", "e")):
            self.topics.add("t", queue, member)
        self.assertEqual(self.topics.recipients("t"), ("a", "b", "c", "e"))
        self.assertEqual(self.topics.recipients("t"), ("a", "b", "d", "e"))
        self.assertEqual(self.topics.recipients("t"), ("a", "b", "c", "e"))
        self.assertEqual(self.topics.recipients("u"), ())

    def test_removed(self) -> None:
        """Who left gets nothing, strangers are no error, and empty topics are forgotten."""
        self.topics.add("t", None, "a")
        self.topics.add("t", "q", "b")
        self.topics.remove("t", "q", "stranger")
        self.topics.remove("t", "other", "b")
        self.topics.remove("nowhere", None, "a")
        self.topics.remove("t", None, "a")
        self.assertEqual(self.topics.recipients("t"), ("b",))
        self.topics.remove("t", "q", "b")
        self.assertNotIn("t", self.topics)
        self.assertEqual(len(self.topics), 0)

    def test_turns_survive_a_leaving(self) -> None:
        """Each of those that stay gets its turn."""
        for member in "abc":
            self.topics.add("t", "q", member)
        self.topics.recipients("t")
        self.topics.remove("t", "q", "b")
        self.assertEqual(sorted(self.topics.recipients("t") + self.topics.recipients("t")), ["a", "c"])
