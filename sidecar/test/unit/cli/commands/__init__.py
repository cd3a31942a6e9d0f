"""Tests of ``sidecar.cli.commands``."""
