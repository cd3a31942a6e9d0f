"""Counters and windows of what the sidecar did."""
