"""Registries without a server, where every peer answers for itself: mDNS and NATS."""
