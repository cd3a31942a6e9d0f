"""The daemon as its users see it: a real process, real sockets."""
