"""What traces say on the wire."""
