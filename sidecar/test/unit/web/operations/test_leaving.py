"""Apps leave on an operator's word, and whoever asked is told when it is safe to stop."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.model import Reason
from sidecar.test.doubles.clients.resources import Asking, Waiting
from sidecar.web.operations.leaving import DrainResource


class Apps:
    """One app, which leaves at once."""

    def names(self) -> tuple[str, ...]:
        return ("foo",)

    async def leave(self, name: str | None, reason: Reason, why: str) -> None:
        """It is out."""

    async def come_back(self, name: str | None) -> None:
        """It is back."""

    def away(self) -> dict[str, str]:
        return {"foo": "an operator drains it"}

    def not_ready(self, name: str | None) -> str:
        return ""


class DrainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.calls = 0
        self.asking = Asking(DrainResource(Apps(), self.clock, 1.0, lambda: self.asking.site.under_way + self.calls))

    def begin(self) -> Waiting:
        return self.asking.begin("POST", "/drain?timeout=5s")

    def statuses(self, *drains: Waiting) -> list[int | None]:
        return [None if heard is None else heard.status for heard in (each.heard() for each in drains)]

    def test_two_at_once(self) -> None:
        """Drains do not wait for each other: a hook that asks again gets its answer as soon as calls are finished."""
        drains = self.begin(), self.begin()
        self.clock.pump([1.0, 0.1])
        self.assertEqual(self.statuses(*drains), [200, 200])

    def test_two_with_a_call(self) -> None:
        """Each of them waits for calls, and says how many were left when its time is up."""
        self.calls = 1
        drains = self.begin(), self.begin()
        self.clock.pump([1.0] + [0.1] * 20)
        self.assertEqual(self.statuses(*drains), [None, None])
        self.clock.pump([0.1] * 50)
        self.assertEqual(self.statuses(*drains), [504, 504])
        heard = drains[1].heard()
        assert heard is not None
        self.assertIn("1 requests are still under way", heard.json["detail"])
