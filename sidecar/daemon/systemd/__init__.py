"""What systemd and the daemon tell each other: readiness, and sockets that were opened before."""
