"""``micro doctor``: what can be wrong with a sidecar and what is around it, found from outside, each with its fix."""
