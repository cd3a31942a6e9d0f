"""Tests of ``sidecar.web``."""
