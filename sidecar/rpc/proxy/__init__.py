"""Requests that go on to a node of a service whole, in pieces of any number."""
