"""Routes for whoever runs the sidecar."""
