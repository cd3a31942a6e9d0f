"""go-micro's own protocol over its HTTP transport."""
