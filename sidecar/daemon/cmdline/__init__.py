"""Flags, environment and file to Settings."""
