"""Services by path, and the proxies."""
