"""Tests of ``sidecar.broker.http``."""
