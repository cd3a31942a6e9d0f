"""Spans are recorded where somebody asks for that, and what is missing for it is said."""

from __future__ import annotations

import sys
from types import ModuleType

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.serving import tracing
from sidecar.errors import ConfigError

_LIBRARY = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class Building(SynchronousTestCase):
    def without_the_library(self) -> None:
        before: ModuleType | None = sys.modules.get(_LIBRARY)

        def restore() -> None:
            del sys.modules[_LIBRARY]
            if before is not None:
                sys.modules[_LIBRARY] = before

        sys.modules[_LIBRARY] = None  # type: ignore[assignment]  # so Python says that it is not there
        self.addCleanup(restore)

    def test_not_asked_for(self) -> None:
        """Then nobody observes, nothing runs, and broker and probes are what they were."""
        made = tracing.build("", {}, Clock(), float)
        self.assertEqual((made.observers, made.services), ((), ()))
        broker = object()
        self.assertIs(made.broker(broker), broker)
        self.assertEqual(made.stats()["dropped"], 0)

    def test_missing(self) -> None:
        """Without the extra the flag's error names it, and how to install it; its password is not shown."""
        self.without_the_library()
        error = self.assertRaises(ConfigError, tracing.build, "http://me:secret@c:4318", {}, Clock(), float)
        self.assertIn("--otlp_endpoint=", str(error))
        self.assertIn("microsidecar[otel]", str(error))
        self.assertIn(
            "pip install 'opentelemetry-sdk>=1.30' 'opentelemetry-exporter-otlp-proto-http>=1.30'", str(error)
        )
        self.assertNotIn("secret", str(error))

    def test_missing_and_not_asked_for_by_us(self) -> None:
        """A variable that is set for other programs keeps nobody from starting."""
        self.without_the_library()
        made = tracing.build("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, Clock(), float)
        self.assertEqual(made.services, ())
