"""Tests of ``sidecar.registry.peers``."""
