"""HTTP requests of callers who know no ``/rpc``: paths that mean services, and what a proxy does to header fields."""
