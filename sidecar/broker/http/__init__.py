"""go-micro's HTTP broker: subscribers are registered, and messages are posted to them."""
