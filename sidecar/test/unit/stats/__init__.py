"""Tests of ``sidecar.stats``."""
