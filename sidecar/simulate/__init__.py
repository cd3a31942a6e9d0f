"""Whole daemons over simulated wires, in virtual time: ``python -m sidecar.simulate --seed 1 --runs 100``."""
