"""Tests of ``sidecar.stats.tracing``."""
