"""Spans of what the sidecar does, and their way to an OpenTelemetry collector."""
