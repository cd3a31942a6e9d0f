"""Messages over RabbitMQ, beside go-micro's plugin."""
