"""Tests of ``sidecar.wire``."""
