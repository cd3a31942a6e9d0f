"""Real programs, started by tests and stopped by their process id."""
