"""Plumbing that knows nothing of micro."""
