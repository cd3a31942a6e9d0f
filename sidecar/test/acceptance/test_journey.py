"""What an operator does at night, from the first red row to the reason: page, receipt, log, trace, metric, journal."""

from __future__ import annotations

import importlib.util
import json
import re
from http.client import HTTPException
from typing import Any

from sidecar.test.acceptance.test_dashboard import JSON, SHAPE, DashboardCase
from sidecar.test.doubles.clients.traffic import Repeating, until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.process import checkout, no_checkout
from sidecar.test.doubles.servers.collector import Collector

CALL = '{"service":"greeter","method":"Say.Hello","request":{"name":"John"}}'
#: Of the alert MicrosidecarCallsFail.
ALERTED = "microsidecar_calls_total"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_FAILED = re.compile(
    rf'^{ALERTED}{{method_class="rpc",outcome="(?:refused|broken|timed_out)",service="greeter"}} (\S+)$', re.MULTILINE
)


class OperatorJourney(DashboardCase):
    def setUp(self) -> None:
        if importlib.util.find_spec("opentelemetry") is None:
            self.skipTest("not installed: opentelemetry-sdk, opentelemetry-exporter-otlp-proto-http (PyPI)")

    def call(self) -> None:
        """One call, whose failure is no fault of the test's: nodes are killed under it."""
        try:
            self.sidecar.request("POST", "/rpc", CALL, {**JSON, "Timeout": "1s"})
        except (OSError, HTTPException):
            pass

    def failed(self) -> float:
        """The calls that the alert counts."""
        return sum(float(count) for count in _FAILED.findall(self.sidecar.request("GET", "/metrics").body.decode()))

    def left(self, id: str) -> Any:
        """The journal's entry of a node that left, None while it did not."""
        entries = self.sidecar.request("GET", "/journal?service=greeter").json
        found = [
            entry
            for entry in entries
            if entry["action"] == "delete" and id in {node["id"] for node in entry["service"]["nodes"]}
        ]
        return found[0] if found else None

    def test_night(self) -> None:
        """Under load one node of three is killed and one hangs: the page, ``/explain``, a receipt, the log, the
        collector and the alert's metric tell of it; the journal when and why each left, the catalog how it was."""
        if no_checkout() is None:
            alerts = (checkout() / "packaging" / "prometheus" / "alerts.yml").read_text("utf-8")
            self.assertIn(ALERTED + '{outcome=~"refused|broken|timed_out"}', alerts)
        collector = Collector()
        self.addCleanup(collector.stop)
        self.sidecar = sidecar = running_daemon(
            ["--enable_stats", "--log_format=json", "--access_log=all", f"--otlp_endpoint={collector.url}"],
            env={"OTEL_BSP_SCHEDULE_DELAY": "100"},
        )
        self.addCleanup(sidecar.stop)
        nodes = [self.node() for _ in range(3)]
        for number, node in enumerate(nodes, 1):
            node.register(sidecar, "greeter", f"greeter-{number}", SHAPE)
        came = sidecar.request("GET", "/journal?service=greeter").json
        whole = max(entry["at"] for entry in came)
        browser = self.browser()
        with Repeating(self.call, 0.02), Repeating(self.call, 0.03):
            browser.open(f"{sidecar.url}/stats#/services/greeter")
            browser.see("#connection", "live")
            browser.see("[aria-label=Nodes]", "greeter-1", "greeter-2", "greeter-3", "in service")
            before = self.failed()
            self.dead = nodes[1].port
            nodes[1].kill()
            nodes[2].hang()
            browser.see("[aria-label=Nodes] tr.bad", "greeter-2", "greeter-3", "refused", "no answer in")
            browser.until(self.explained, "both reasons in /explain")
            id = browser.until(self.failed_call, "a call that fails")
            browser.until(lambda: f'"request_id": "{id}"' in sidecar.output, f"{id} in the log")
            browser.until(lambda: self.traced(collector), "its trace at the collector")
            browser.until(lambda: self.failed() > before, "the alert's metric moves")
        self.check_left(sidecar, whole)
        browser.see("[aria-label=Journal]", "greeter-2", "deregistered", "greeter-3", "expired")
        self.check_quiet(browser, sidecar.port)

    def explained(self) -> bool:
        told = self.sidecar.request("GET", "/explain?service=greeter").json["nodes"]
        why = {node["id"]: node["why"] for node in told}
        return "refused" in why["greeter-2"] and "timed out" in why["greeter-3"] and not why["greeter-1"]

    def failed_call(self) -> str:
        """Call once with an id and a trace. :returns: the id of a call that failed, "" of one that did not."""
        self.asked = getattr(self, "asked", 0) + 1
        id = f"night-{self.asked}"
        asked = {**json.loads(CALL), "address": f"127.0.0.1:{self.dead}"}
        headers = {
            "X-Request-Id": id,
            "Micro-Explain": "1",
            "Timeout": "1s",
            "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
        }
        answer = self.sidecar.request("POST", "/rpc", json.dumps(asked), {**JSON, **headers})
        if answer.status == 200:
            return ""
        receipt = json.loads(answer.headers["micro-receipt"])
        self.assertEqual((receipt["id"], receipt["trace_id"]), (id, TRACE))
        self.assertEqual(answer.json["receipt"]["attempts"], receipt["attempts"])
        return id

    def traced(self, collector: Collector) -> bool:
        """Whether the failed call is there as an error of the caller's trace."""
        calls = collector.named("call greeter Say.Hello")
        return any(span.trace_id.hex() == TRACE and span.status.code == 2 for span in calls)

    def check_left(self, sidecar: Daemon, whole: str) -> None:
        """One is taken out, one is not renewed. :param whole: when all three were there."""
        gone = '{"name":"greeter","version":"1.4.2","nodes":[{"id":"greeter-2"}]}'
        self.assertEqual(sidecar.request("DELETE", "/registry", gone, JSON).status, 200)
        body = json.loads(sidecar.request("GET", "/registry?service=greeter").body)
        (silent,) = [node for node in body["nodes"] if node["id"] == "greeter-3"]
        renewed = json.dumps({"name": "greeter", "version": "1.4.2", "endpoints": SHAPE, "nodes": [silent]})
        self.assertEqual(sidecar.request("POST", "/registry?ttl=1s", renewed, JSON).status, 200)
        expected = {"greeter-2": ("deregistered", "caller 127.0.0.1"), "greeter-3": ("expired", "ttl")}
        for id, told in expected.items():
            until(lambda id=id: self.left(id) is not None, 60)  # type: ignore[misc]
            entry = self.left(id)
            self.assertEqual((entry["reason"], entry["by"]), told)
            self.assertGreater(entry["at"], whole)
        now = sidecar.request("GET", "/registry?service=greeter").json
        self.assertEqual({node["id"] for node in now["nodes"]}, {"greeter-1"})
        then = sidecar.request("GET", f"/registry?service=greeter&at={whole}").json
        self.assertEqual({node["id"] for node in then["nodes"]}, {"greeter-1", "greeter-2", "greeter-3"})
