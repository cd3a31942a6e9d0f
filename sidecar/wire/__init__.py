"""Bytes to model and back. Pure: no reactor, no clock, no logger."""
