"""Tests of ``sidecar.wire.dns``."""
