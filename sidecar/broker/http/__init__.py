"""go-micro's HTTP broker: subscribers stand in the registry, and messages are posted to them."""
