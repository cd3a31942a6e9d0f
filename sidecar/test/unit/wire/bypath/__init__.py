"""Tests of ``sidecar.wire.bypath``."""
