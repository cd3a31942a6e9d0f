"""Tests of ``sidecar.websocket``."""
