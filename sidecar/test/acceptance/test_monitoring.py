"""What is packaged for Prometheus and Grafana: it asks for metrics that there are, and Prometheus can read it."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.stats.families import FAMILIES, Family
from sidecar.test.doubles.programs.process import checkout, find_program, missing, no_checkout

#: What Prometheus' own library tells of the process.
PROCESS = {"process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
_SELECTOR = re.compile(r"\b((?:microsidecar|process)_\w+)(?:\{([^}]*)\})?")


def samples(family: Family) -> set[str]:
    """The names under which a query finds a family."""
    if family.kind == "histogram":
        return {f"{family.name}_{end}" for end in ("bucket", "count", "sum")}
    return {family.name}


class Monitoring(SynchronousTestCase):
    def setUp(self) -> None:
        reason = no_checkout()
        if reason is not None:
            raise SkipTest(reason)
        self.rules = checkout() / "packaging" / "prometheus" / "alerts.yml"
        self.dashboards = sorted((checkout() / "packaging" / "grafana").glob("*.json"))

    def assert_exist(self, query: str) -> None:
        """Every metric and label of a query is one of ours."""
        known = {name: family for family in FAMILIES for name in samples(family)}
        for name, matchers in _SELECTOR.findall(query):
            if name in PROCESS:
                continue
            self.assertIn(name, known, query)
            labels = set(re.findall(r"(\w+)\s*[=!]~?\"", matchers)) - {"instance", "job"}
            self.assertLessEqual(labels, {*known[name].labels}, query)

    def test_alerts(self) -> None:
        """Each rule asks for metrics that there are; one that does not is found."""
        text = self.rules.read_text("utf-8")
        found = _SELECTOR.findall(text)
        self.assertGreater(len(found), 8)
        self.assert_exist(text)
        self.assertRaises(self.failureException, self.assert_exist, "rate(microsidecar_call_total[5m])")
        self.assertRaises(self.failureException, self.assert_exist, 'microsidecar_calls_total{node="a"}')

    def test_promtool(self) -> None:
        """Prometheus' own tool takes the rules."""
        reason = missing("promtool")
        if reason is not None:
            raise SkipTest(reason)
        tool = str(find_program("promtool"))
        done = subprocess.run([tool, "check", "rules", str(self.rules)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_dashboards(self) -> None:
        """Each panel asks for metrics that there are, from the data source that the reader chooses."""
        self.assertTrue(self.dashboards)
        for path in self.dashboards:
            dashboard: Any = json.loads(path.read_text("utf-8"))
            ids = [panel["id"] for panel in dashboard["panels"]]
            self.assertEqual(len(ids), len(set(ids)))
            for panel in dashboard["panels"]:
                self.assertEqual(panel["datasource"]["uid"], "${datasource}")
                self.assertTrue(panel["targets"])
                for target in panel["targets"]:
                    self.assertRegex(target["expr"], _SELECTOR)
                    self.assert_exist(target["expr"])
            for variable in dashboard["templating"]["list"]:
                self.assert_exist(variable["query"])
