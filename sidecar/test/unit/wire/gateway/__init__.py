"""Paths that mean services, and the bodies that go there."""
