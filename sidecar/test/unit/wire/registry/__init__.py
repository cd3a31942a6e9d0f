"""Tests of ``sidecar.wire.registry``."""
