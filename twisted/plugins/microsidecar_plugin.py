"""Makes ``twistd microsidecar`` known to Twisted."""

from twisted.application.service import ServiceMaker

microsidecar = ServiceMaker(
    "microsidecar",
    "sidecar.daemon.tap",
    "Joins any application to the Micro ecosystem over HTTP and WebSockets.",
    "microsidecar",
)
