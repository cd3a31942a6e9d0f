"""Every decoder, fed with bytes that nobody foresaw: ``python -m sidecar.test.fuzz --seconds 20``."""
