"""The twisted.web resource tree, one room a path."""
