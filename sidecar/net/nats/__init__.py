"""A NATS client, its connection kept by nats-py in a thread of its own."""
