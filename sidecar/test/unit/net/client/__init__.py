"""Tests of ``sidecar.net.client``."""
