"""Tests of ``sidecar.web.app``."""
