"""Tests of ``sidecar.web.operations``."""
