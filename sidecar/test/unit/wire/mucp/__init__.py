"""Tests of ``sidecar.wire.mucp``."""
