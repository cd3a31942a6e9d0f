"""Connections that we open: pooled, duplex, and the client for cold paths."""
