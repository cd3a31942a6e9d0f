"""Tests of ``sidecar.net.nats``."""
