"""Log lines: their form, their levels, and that they never stop the daemon."""
