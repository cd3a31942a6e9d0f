"""What goes along with each request: its id, and its line in the access log."""
