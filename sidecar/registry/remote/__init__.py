"""Registries whose truth is in an engine over HTTP: Consul and etcd."""
