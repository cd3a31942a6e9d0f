"""Calls that are made by a path and a method of HTTP of their own."""
