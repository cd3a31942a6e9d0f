"""HTTP/2, both ends."""
