"""Tests of ``sidecar.net.http``."""
