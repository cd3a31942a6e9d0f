"""Ways to be rude to the daemon, and how each is to be turned away."""
