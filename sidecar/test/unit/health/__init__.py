"""Tests of ``sidecar.health``."""
