"""The HTTP and WebSocket API, described for programs: OpenAPI and AsyncAPI documents made from one table of routes."""
