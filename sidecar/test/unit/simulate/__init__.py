"""Tests of the simulation's own parts."""
