"""Ways to ask the registry."""
