"""Tests of ``sidecar.rpc.dialects``."""
