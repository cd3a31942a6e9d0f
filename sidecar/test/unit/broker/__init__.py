"""Tests of ``sidecar.broker``."""
