"""Tests of ``sidecar.daemon.systemd``."""
