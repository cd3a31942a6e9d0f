"""Clients for tests: over sockets, or straight into a resource tree."""
