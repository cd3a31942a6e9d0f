"""Tests of ``sidecar.net.reactor``."""
