"""Tests of ``sidecar.daemon.cmdline``."""
