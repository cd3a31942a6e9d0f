"""microsidecar: any application joins the Micro ecosystem by speaking HTTP and WebSockets to a process beside it."""

__version__ = "1.0.0"
