"""What registries say on the wire: Consul, etcd, NATS, and the journal as we show it."""
