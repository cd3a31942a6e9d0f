"""Tests of ``sidecar.pubsub``."""
