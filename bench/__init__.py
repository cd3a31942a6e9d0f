"""Measures the sidecar beside its peers, in one run, as ratios: ``python -m bench``."""
