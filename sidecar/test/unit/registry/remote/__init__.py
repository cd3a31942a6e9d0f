"""Tests of ``sidecar.registry.remote``."""
