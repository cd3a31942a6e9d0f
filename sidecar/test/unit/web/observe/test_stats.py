"""``/stats``: the document and the page."""

from __future__ import annotations

import gc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.stats.recorder import StatsRecorder
from sidecar.test.doubles.clients.resources import Asking, Heard
from sidecar.waiting import Clocks
from sidecar.web.observe.stats import StatsResource


class StatsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(17)
        self.set_by = 1_700_000_000 - 17
        self.recorder = StatsRecorder(Clocks(self.clock, lambda: self.clock.seconds() + self.set_by))
        self.recorder.startService()
        self.addCleanup(self.recorder.stopService)
        facts = {
            "registry": lambda: {"kind": "memory", "detail": "</script><img src=x onerror=alert(1)>"},
            "memory": lambda: {"limit": 1},
        }
        self.resource = StatsResource(self.recorder, facts)

    def get(self, **headers: str) -> Heard:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return Asking(self.resource, self.clock).ask("GET", "/stats", headers=fields)

    def test_document(self) -> None:
        """The JSON has the original's shape, with true status classes; what we add takes the place of none of it."""
        self.recorder.record(200, 0.001, b"/", self.clock.seconds())
        self.recorder.record(404, 0.001, b"/", self.clock.seconds())
        stats = self.get(Accept="application/json").json
        self.assertEqual(stats["started"], 1_700_000_000)
        self.assertRegex(stats["memory"], r"^\d+\.\d\dmb$")
        self.assertRegex(stats["gc_pause"], r"^\d+\.\d\d\dms$")
        self.assertGreaterEqual(stats["threads"], 1)
        counters = [{"timestamp": 1_700_000_000, "status_codes": {"20x": 1, "40x": 1}, "total_reqs": 2}]
        self.assertEqual(stats["counters"], counters)
        self.assertEqual(stats["registry"]["kind"], "memory")

    def test_clock_set(self) -> None:
        """Where somebody sets the machine's clock, the start keeps the date it had and windows have today's."""
        self.set_by += 7200
        stats = self.get(Accept="application/json").json
        self.assertEqual(stats["started"], 1_700_000_000)
        self.assertEqual([counts["timestamp"] for counts in stats["counters"]], [1_700_007_200])

    def test_asked_by_content_type(self) -> None:
        """The original's way of asking for JSON, by the request's own content type, works too."""
        self.assertEqual(self.get(Content_Type="application/json").headers["content-type"], "application/json")

    def test_page(self) -> None:
        """Everybody else gets a page that holds no number, needs nothing from elsewhere and lets nothing in."""
        heard = self.get(Accept="text/html,*/*")
        self.assertEqual(heard.headers["content-type"], "text/html; charset=utf-8")
        page = heard.body.decode()
        self.assertNotRegex(page, r"https?://|@import|<script>|<style|style=|\son\w+=")
        self.assertNotIn("counters", page)
        self.assertNotIn("onerror", page)
        policy = heard.headers["content-security-policy"]
        for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for"):
            self.assertIn(part, policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(heard.headers["x-content-type-options"], "nosniff")

    def test_slash(self) -> None:
        """With a slash at its end, the page is where its relative paths hold; programs get JSON as ever."""
        asking = Asking(self.resource, self.clock)
        heard = asking.ask("GET", "/stats/", headers={"Accept": "text/html"})
        self.assertEqual((heard.status, heard.headers["location"]), (308, "../stats"))
        self.assertEqual(asking.ask("GET", "/stats/", headers={"Accept": "application/json"}).status, 200)

    def test_collector(self) -> None:
        """Pauses of the collector are added up while the recorder runs, and its hook goes with it."""
        gc.collect()
        self.assertGreater(self.recorder.snapshot().gc_pause, 0)
        hooks = len(gc.callbacks)
        self.recorder.stopService()
        self.assertEqual(len(gc.callbacks), hooks - 1)
