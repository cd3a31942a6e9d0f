"""Calling a service: choose a node, attempt, retry, give up."""
