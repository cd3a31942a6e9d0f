"""Tests of ``sidecar.net.http2``."""
