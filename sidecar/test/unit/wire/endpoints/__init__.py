"""Tests of ``sidecar.wire.endpoints``."""
