"""The `micro` command: ``micro sidecar`` runs the daemon, every other word talks to one."""
