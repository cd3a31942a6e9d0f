"""Tests of ``sidecar.registry``."""
