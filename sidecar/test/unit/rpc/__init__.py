"""Tests of ``sidecar.rpc``."""
