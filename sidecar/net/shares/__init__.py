"""Connections of those who may not have all that there is."""
