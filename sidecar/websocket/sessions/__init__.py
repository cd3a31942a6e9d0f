"""What is said on a WebSocket: publish and subscribe, or a stream of a service."""
