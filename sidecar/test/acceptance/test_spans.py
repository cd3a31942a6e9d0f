"""Spans reach a collector that reads real protobuf, and nobody waits for one that is gone."""

from __future__ import annotations

import importlib.util
import json
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.acceptance.test_traces import GIVEN, TRACE, Heard
from sidecar.test.doubles.clients.blocking import WebSocket
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.process import free_port
from sidecar.test.doubles.servers.collector import Collector

SPAN = "00f067aa0ba902b7"


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def attributes(span: Any) -> dict[str, str]:
    """Those of a span that are text."""
    return {each.key: each.value.string_value for each in span.attributes}


class Spans(SynchronousTestCase):
    def setUp(self) -> None:
        if importlib.util.find_spec("opentelemetry") is None:
            self.skipTest("not installed: opentelemetry-sdk, opentelemetry-exporter-otlp-proto-http (PyPI)")

    def collector(self) -> Collector:
        made = Collector()
        self.addCleanup(made.stop)
        return made

    def daemon(self, *flags: str, **env: str) -> Daemon:
        daemon = running_daemon(["--log_format=json", *flags], env={"OTEL_BSP_SCHEDULE_DELAY": "100", **env})
        self.addCleanup(daemon.stop)
        return daemon

    def register(self, daemon: Daemon, *ports: int) -> None:
        nodes = [{"id": f"foo-{port}", "address": "127.0.0.1", "port": port} for port in ports]
        self.assertEqual(daemon.request("POST", "/registry", json.dumps({"name": "foo", "nodes": nodes})).status, 200)

    def call(self, daemon: Daemon, **headers: str) -> Any:
        asked = json.dumps({"service": "foo", "method": "A.B", "request": {}})
        return daemon.request("POST", "/rpc", asked, {"Content-Type": "application/json", **headers})

    def test_a_call(self) -> None:
        """A call and its attempts are spans of the caller's trace, and the node hears of the call's span."""
        collector, node = self.collector(), Heard()
        self.addCleanup(node.stop)
        daemon = self.daemon(f"--otlp_endpoint={collector.url}/", OTEL_RESOURCE_ATTRIBUTES="a=b")
        self.register(daemon, node.port)
        self.assertEqual(self.call(daemon, traceparent=GIVEN).status, 200)
        until(lambda: len(collector.named("call foo A.B")) == 1 and len(collector.named("attempt foo")) == 1, 60)
        (call,), (attempt,) = collector.named("call foo A.B"), collector.named("attempt foo")
        self.assertEqual((call.trace_id.hex(), call.parent_span_id.hex()), (TRACE, SPAN))
        self.assertEqual((attempt.trace_id.hex(), attempt.parent_span_id), (TRACE, call.span_id))
        self.assertEqual(node.headers[0]["traceparent"], f"00-{TRACE}-{call.span_id.hex()}-01")
        self.assertLessEqual(call.start_time_unix_nano, attempt.start_time_unix_nano)
        self.assertEqual(attributes(attempt)["micro.outcome"], "answered")
        self.assertEqual(collector.asked[0][0], "/v1/traces")
        self.assertEqual((collector.resources[0]["service.name"], collector.resources[0]["a"]), ("microsidecar", "b"))

    def test_a_failed_call(self) -> None:
        """Each attempt is a span, with its error, and so is a call that nobody began a trace for."""
        collector = self.collector()
        daemon = self.daemon(f"--otlp_endpoint={collector.url}", OTEL_SERVICE_NAME="mine")
        self.register(daemon, free_port(), free_port())
        self.assertEqual(self.call(daemon).status, 502)
        until(lambda: len(collector.named("attempt foo")) == 2 and bool(collector.named("call")), 60)
        (call,) = collector.named("call")
        self.assertEqual((call.parent_span_id, call.status.code), (b"", 2))
        self.assertIn("connection refused", call.status.message)
        self.assertEqual({attempt.parent_span_id for attempt in collector.named("attempt")}, {call.span_id})
        self.assertEqual(collector.resources[0]["service.name"], "mine")
        (failed,) = daemon.request("GET", "/errors").json
        self.assertEqual(failed["trace_id"], call.trace_id.hex())

    def test_messages(self) -> None:
        """What is published is a span, and what is delivered another one below it."""
        collector = self.collector()
        daemon = self.daemon(f"--otlp_endpoint={collector.url}")
        subscriber = WebSocket.open(_connect, daemon.port, "/broker?topic=news")
        self.addCleanup(subscriber.close)
        self.assertEqual(daemon.request("POST", "/broker?topic=news", "{}", {"traceparent": GIVEN}).status, 200)
        subscriber.receive(60)
        until(lambda: bool(collector.named("publish news")) and bool(collector.named("deliver news")), 60)
        (publish,), (deliver,) = collector.named("publish news"), collector.named("deliver news")
        self.assertEqual((publish.trace_id.hex(), publish.parent_span_id.hex()), (TRACE, SPAN))
        self.assertEqual((deliver.trace_id.hex(), deliver.parent_span_id), (TRACE, publish.span_id))

    def test_checks(self) -> None:
        """Each check of an app is a trace of its own."""
        collector = self.collector()
        self.daemon(
            f"--otlp_endpoint={collector.url}",
            "--server_name=app",
            f"--server_address=127.0.0.1:{free_port()}",
            f"--healthcheck_url=http://127.0.0.1:{free_port()}/health",
        )
        until(lambda: bool(collector.named("check healthcheck_url")), 60)
        check = collector.named("check healthcheck_url")[0]
        self.assertEqual((check.parent_span_id, check.status.code), (b"", 2))

    def test_not_sampled(self) -> None:
        """What the caller does not record is not recorded here either, and nodes are told so."""
        collector, node = self.collector(), Heard()
        self.addCleanup(node.stop)
        daemon = self.daemon(f"--otlp_endpoint={collector.url}")
        self.register(daemon, node.port)
        self.call(daemon, traceparent=GIVEN[:-1] + "0")
        self.call(daemon)
        until(lambda: bool(collector.named("call")), 60)
        self.assertNotIn(TRACE, [span.trace_id.hex() for span in collector.spans])
        self.assertTrue(node.headers[0]["traceparent"].endswith("-00"))

    def test_gone(self) -> None:
        """Where nobody collects, calls are answered as before; spans are dropped and counted, and the log says so."""
        node = Heard()
        self.addCleanup(node.stop)
        daemon = self.daemon(
            f"--otlp_endpoint=http://127.0.0.1:{free_port()}",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            OTEL_BSP_MAX_QUEUE_SIZE="8",
        )
        self.register(daemon, node.port)
        for _ in range(20):
            self.assertEqual(self.call(daemon).status, 200)

        def dropped() -> bool:
            lines = daemon.request("GET", "/metrics").body.decode().splitlines()
            return any(line.startswith("microsidecar_spans_dropped_total") and float(line.split()[1]) for line in lines)

        until(dropped, 60)
        until(lambda: "takes no spans" in daemon.output, 60)
