"""WebSocket handshakes and frames."""
