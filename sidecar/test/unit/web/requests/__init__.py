"""Tests of ``sidecar.web.requests``."""
