"""What an operator finds of a failed call: its receipt, its request id, its line in the access log, its numbers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.stats.families import FAMILIES
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.node import NodeProcess
from sidecar.test.doubles.programs.process import free_port


class Observed(SynchronousTestCase):
    def daemon(self, *flags: str) -> Daemon:
        daemon = running_daemon(["--log_format=json", *flags])
        self.addCleanup(daemon.stop)
        node = {"id": "dead-1", "address": "127.0.0.1", "port": free_port()}
        body = json.dumps({"name": "dead", "nodes": [node]})
        self.assertEqual(daemon.request("POST", "/registry", body).status, 200)
        return daemon

    def lines(self, daemon: Daemon, word: str) -> list[Any]:
        """The log lines that hold ``word``."""
        return [json.loads(line) for line in daemon.output.splitlines() if word in line]

    def test_a_failed_call(self) -> None:
        """The caller's id is on the answer, in the receipt and in the log, with who, what, how long and why."""
        daemon = self.daemon()
        call = json.dumps({"service": "dead", "method": "A.B", "request": {}})
        headers = {"X-Request-Id": "abc-123", "Micro-Explain": "1", "Content-Type": "application/json"}
        answer = daemon.request("POST", "/rpc?token=secret", call, headers)
        self.assertEqual((answer.status, answer.headers["x-request-id"]), (502, "abc-123"))
        receipt = json.loads(answer.headers["micro-receipt"])
        self.assertEqual(receipt["id"], "abc-123")
        self.assertEqual(receipt["attempts"][0]["outcome"], "refused")
        self.assertEqual(answer.json["receipt"]["attempts"], receipt["attempts"])
        until(lambda: bool(self.lines(daemon, "abc-123")), 30)
        (line,) = self.lines(daemon, "abc-123")
        self.assertEqual(
            {name: line[name] for name in ("request_id", "method", "route", "service", "called", "status", "caller")},
            {
                "request_id": "abc-123",
                "method": "POST",
                "route": "/rpc",
                "service": "dead",
                "called": "A.B",
                "status": 502,
                "caller": "127.0.0.1",
            },
        )
        self.assertGreaterEqual(line["attempts"], 1)
        self.assertIn("refused", line["why"])
        self.assertNotIn("secret", daemon.output)

    def test_id_in_text(self) -> None:
        """A line for people holds the request's id too."""
        daemon = running_daemon(["--log_format=text"])
        self.addCleanup(daemon.stop)
        daemon.request("GET", "/nowhere", headers={"X-Request-Id": "find-me"})
        until(lambda: "(request find-me)" in daemon.output, 60)

    def test_an_id_is_made(self) -> None:
        """Where the caller gives none, or one that is unfit for a header, each answer has one of its own."""
        daemon = self.daemon()
        ids = {
            daemon.request("GET", path, headers=headers).headers["x-request-id"]
            for path in ("/registry", "/health", "/nowhere")
            for headers in ({}, {"X-Request-Id": "with space"}, {"X-Request-Id": "x" * 200})
        }
        self.assertEqual(len(ids), 9)

    def test_what_is_logged(self) -> None:
        """Errors alone unless told otherwise; all, or none."""
        for flags, expected in (
            ((), ["/nowhere"]),
            (("--access_log=all",), ["/health", "/nowhere"]),
            (
                ("--access_log=off",),
                [],
            ),
        ):
            daemon = self.daemon(*flags)
            for path in ("/health", "/nowhere"):
                daemon.request("GET", path)
            daemon.signal()
            daemon.wait()
            routes = [line["route"] for line in self.lines(daemon, '"route"') if line["route"] != "/registry"]
            self.assertEqual(routes, expected)

    def test_a_good_call_is_logged(self) -> None:
        """Its line says how many attempts it took, and holds no field that is only there to make the message."""
        daemon = self.daemon("--access_log=all")
        alive = NodeProcess.start()
        self.addCleanup(alive.program.stop)
        nodes = [{"id": "alive-1", "address": "127.0.0.1", "port": alive.port}]
        daemon.request("POST", "/registry", json.dumps({"name": "alive", "nodes": nodes}))
        call = json.dumps({"service": "alive", "method": "A.B", "request": {}})
        headers = {"X-Request-Id": "good-1", "Content-Type": "application/json"}
        answer = daemon.request("POST", "/rpc", call, headers)
        self.assertEqual(answer.status, 200)
        self.assertNotIn("micro-receipt", answer.headers)
        until(lambda: bool(self.lines(daemon, "good-1")), 60)
        (line,) = self.lines(daemon, "good-1")
        self.assertEqual((line["called"], line["attempts"]), ("A.B", 1))
        self.assertTrue(line["message"].endswith(" s, calling alive A.B (request good-1)"), line["message"])
        self.assertEqual({"what", "because", "unthrottled"} & set(line), set())

    def test_metrics(self) -> None:
        """Prometheus reads calls by service and outcome, how long they took, answers, engines and the process."""
        daemon = self.daemon()
        call = json.dumps({"service": "dead", "method": "A.B", "request": {}})
        for service in ("dead", "nobody"):
            daemon.request("POST", "/rpc", call.replace("dead", service), {"Content-Type": "application/json"})
        plain = daemon.request("GET", "/metrics")
        self.assertTrue(plain.headers["content-type"].startswith("text/plain"))
        text = plain.body.decode()
        for line in (
            'microsidecar_calls_total{method_class="rpc",outcome="refused",service="dead"} 1.0',
            'microsidecar_calls_total{method_class="rpc",outcome="not_found",service="other"} 1.0',
            'microsidecar_call_duration_seconds_count{service="dead"} 1.0',
            'microsidecar_registry_changes_total{action="create",reason="registered"} 1.0',
            'microsidecar_call_attempts_total{outcome="refused",service="dead"} 2.0',
            'microsidecar_http_responses_total{code="5xx",route="/rpc"} 1.0',
            'microsidecar_http_responses_total{code="4xx",route="/rpc"} 1.0',
            'microsidecar_backend_connected{kind="memory",role="registry"} 1.0',
            "microsidecar_reactor_delay_seconds ",
            "microsidecar_reactor_stalls_total ",
            "process_open_fds ",
        ):
            self.assertIn(line, text)
        other = daemon.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        self.assertTrue(other.headers["content-type"].startswith("application/openmetrics-text"))
        self.assertTrue(other.body.endswith(b"# EOF\n"))

    def test_every_family(self) -> None:
        """What the table of metrics says is what a scrape has, kind by kind, and nothing else of ours."""
        daemon = self.daemon("--server_name=app", f"--server_address=127.0.0.1:{free_port()}")
        text = daemon.request("GET", "/metrics").body.decode()
        told = set(re.findall(r"^# TYPE (microsidecar_\w+) (\w+)$", text, re.MULTILINE))
        self.assertEqual(told, {(one.name, "gauge" if one.kind == "info" else one.kind) for one in FAMILIES})
        self.assertIn('microsidecar_app_healthy{app="app"}', text)

    def test_exemplars(self) -> None:
        """Once somebody reads OpenMetrics, a bucket names a request by which log and receipt are found."""
        daemon = self.daemon()
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        self.assertNotIn(b"request_id", daemon.request("GET", "/metrics", headers=accept).body)
        call = json.dumps({"service": "dead", "method": "A.B", "request": {}})
        headers = {"Content-Type": "application/json", "X-Request-Id": "one-of-many"}
        daemon.request("POST", "/rpc", call, headers)
        text = daemon.request("GET", "/metrics", headers=accept).body.decode()
        self.assertRegex(text, r'_bucket\{le="[\d.]+",service="dead"\} 1.0 # \{request_id="one-of-many"\} 0\.\d+ ')

    def test_promtool(self) -> None:
        """Prometheus' own tool finds no fault with the form and the names."""
        if shutil.which("promtool") is None:
            self.skipTest("not installed: promtool (prometheus)")
        body = self.daemon().request("GET", "/metrics").body
        done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done.stdout)

    def test_explain(self) -> None:
        """Which nodes would be called, which not and why, whence each came, and how its last attempt failed."""
        daemon = self.daemon()
        other = {"id": "old-1", "address": "127.0.0.1", "port": free_port()}
        body = json.dumps({"name": "dead", "version": "0.9", "nodes": [other]})
        self.assertEqual(daemon.request("POST", "/registry", body).status, 200)
        call = json.dumps({"service": "dead", "method": "A.B", "request": {}})
        for _ in range(8):
            daemon.request("POST", "/rpc", call, {"Content-Type": "application/json"})
        told = daemon.request("GET", "/explain?service=dead&version=0.9").json
        self.assertEqual((told["service"], told["strategy"]), ("dead", "random"))
        nodes = {node["id"]: node for node in told["nodes"]}
        self.assertIn("other version", nodes["dead-1"]["why"])
        self.assertFalse(nodes["dead-1"]["chosen"])
        self.assertEqual(nodes["old-1"]["source"]["engine"], "memory")
        self.assertEqual(nodes["old-1"]["last"]["outcome"], "refused")
        self.assertLess(told["p50_ms"], told["p95_ms"], "told within their bucket, not by its edge")
        scraped = daemon.request("GET", "/metrics").body.decode()
        self.assertRegex(scraped, r"(?m)^microsidecar_ejections_total [1-9]")
        self.assertEqual(daemon.request("GET", "/explain?service=nobody").status, 404)
        self.assertEqual(daemon.request("GET", "/explain").status, 400)
