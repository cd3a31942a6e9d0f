"""Tests of ``sidecar.daemon``."""
