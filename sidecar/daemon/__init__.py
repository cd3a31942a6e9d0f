"""From the command line to the running service tree."""
