"""Tests of ``sidecar.cli.dev``."""
