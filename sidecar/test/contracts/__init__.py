"""One suite a seam, which every backend passes unchanged."""
