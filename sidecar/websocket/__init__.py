"""Autobahn's protocol and factory: a shell over :mod:`sidecar.pubsub`."""
