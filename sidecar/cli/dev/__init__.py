"""``micro dev``: runs an app and a sidecar beside it, for the one who writes the app."""
