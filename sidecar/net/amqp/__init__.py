"""AMQP 0-9-1 as RabbitMQ speaks it: connections that heal, over pika's Twisted adapter."""
