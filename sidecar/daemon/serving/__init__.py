"""What serves HTTP, made of the settings."""
