"""Faults of the machine and of peers, at a real daemon: killed, stopped, full, starved, left alone, flooded."""
