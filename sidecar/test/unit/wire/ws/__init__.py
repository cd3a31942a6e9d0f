"""Tests of ``sidecar.wire.ws``."""
