"""Tests of ``sidecar.wire.tracing``."""
