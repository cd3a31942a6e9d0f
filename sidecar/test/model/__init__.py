"""A model of what a sidecar promises, which hypothesis drives beside the production code on a Clock."""
