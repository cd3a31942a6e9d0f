"""Real go-micro services and clients, and what they left on the wire."""
