"""Tests of ``sidecar.wire.builtins``."""
