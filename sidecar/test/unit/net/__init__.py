"""Tests of ``sidecar.net``."""
