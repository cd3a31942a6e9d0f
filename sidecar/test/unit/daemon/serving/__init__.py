"""What serves HTTP, put together."""
