"""``micro subscribe``: the only client command that runs a reactor."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlencode

from twisted.internet import endpoints
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from sidecar.cli.api import Api
from sidecar.websocket.client import Ended, ListeningClient, listen


class Subscriber:
    """Prints messages until it has enough, is interrupted, or the connection ends."""

    def __init__(self, api: Api, topic: str, count: int) -> None:
        """:param count: messages to print before leaving, 0 for no end."""
        self._api = api
        self._topic = topic
        self._left = count or -1
        self._protocol: ListeningClient | None = None
        self.code = 0

    def opened(self, protocol: ListeningClient) -> None:
        self._protocol = protocol
        # On standard error: the output stays messages only, and a script can wait for this line.
        if self._left == 0:
            self.leave()
            return
        sys.stderr.write(f"subscribed to {self._topic}\n")
        sys.stderr.flush()

    def deliver(self, payload: bytes) -> None:
        if self._left == 0:
            return
        try:
            sys.stdout.buffer.write(payload + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            self._left, self.code = 0, 141
        else:
            self._left -= 1
        if self._left == 0:
            self.leave()

    def leave(self) -> None:
        """Say goodbye; whatever comes after is not ours to print."""
        self._left = 0
        if self._protocol is not None:
            self._protocol.sendClose(1000)

    def ended(self, how: Ended) -> None:
        if self._left != 0:
            self._complain(str(how) if self._protocol is not None else f"no subscription at {self._api.address}: {how}")

    def failed(self, failure: Failure) -> None:
        error = failure.value
        self._complain(f"cannot reach a sidecar at {self._api.address}: {str(error) or type(error).__name__}")

    def _complain(self, text: str) -> None:
        sys.stderr.write(f"micro: {text}\n")
        self.code = 1


def subscribe(api: Api, topic: str, queue: str | None, form: str, count: int) -> int:
    """:param form: ``text`` prints bodies, ``json`` whole messages. :returns: the exit code."""
    from twisted.internet import reactor as installed

    reactor: Any = installed  # a module to mypy
    asked = {"topic": topic}
    if queue:
        asked["queue"] = queue
    if form == "text":
        asked["format"] = "raw"
    host = f"[{api.host}]" if ":" in api.host else api.host
    url = f"{'wss' if api.secure else 'ws'}://{host}:{api.port}{api.path}/broker?{urlencode(asked)}"
    where = endpoint(reactor, api)
    subscriber = Subscriber(api, topic, count)

    def stop(_: object) -> None:
        if reactor.running:
            reactor.stop()

    def start() -> None:
        ended = listen(reactor, where, url, subscriber.deliver, subscriber.opened)
        ended.addCallbacks(subscriber.ended, subscriber.failed).addBoth(stop)

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", subscriber.leave)
    reactor.run()
    return subscriber.code


def endpoint(reactor: Any, api: Api) -> IStreamClientEndpoint:
    """:returns: how to connect to the sidecar of ``api``. :raises Failed: a file of its trust is no good."""
    if api.unix:
        return endpoints.UNIXClientEndpoint(reactor, api.unix)
    plain = endpoints.HostnameEndpoint(reactor, api.host, api.port)
    if not api.secure:
        return plain
    # Imported here: OpenSSL is slow to load.
    from sidecar.cli.tls import client_tls

    return endpoints.wrapClientTLS(client_tls(api.host, api.trust), plain)
