"""Makes ``--reactor=microepoll`` known to Twisted."""

from twisted.application.reactors import Reactor

microepoll = Reactor("microepoll", "sidecar.net.reactor.epoll", "epoll without a log context around each event")
