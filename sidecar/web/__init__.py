"""The twisted.web resource tree, one resource a path."""
