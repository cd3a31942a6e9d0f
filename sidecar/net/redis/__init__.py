"""A Redis client for publishing and subscribing, its connections owned by redis-py in a thread of its own."""
