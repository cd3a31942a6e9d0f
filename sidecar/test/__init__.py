"""The promises, as tests. Mirrors the tree."""
