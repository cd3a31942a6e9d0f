"""Tests of ``sidecar.cli``."""
