"""``micro subscribe``: the only client command that runs a reactor."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from twisted.internet import endpoints
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from sidecar.cli.api import Api, Failed
from sidecar.cli.exits import BROKEN_PIPE, FAULT, UNAVAILABLE
from sidecar.cli.output import visible
from sidecar.net.client.resolver import CachingResolver
from sidecar.websocket.client import Ended, ListeningClient, listen

#: Seconds before the first and the last of many attempts to connect again.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
#: How Autobahn says that a handshake was answered with an error of the caller's.
_REFUSED = re.compile(r"upgrade failed \(4\d\d ")


@dataclass(frozen=True)
class Wanted:
    """What to subscribe to.

    :ivar queue: "" for all messages. :ivar bodies: print bodies alone, else whole messages.
    :ivar count: messages to print before leaving, 0 for no end. :ivar follow: connect again when the connection ends.
    """

    topic: str
    queue: str = ""
    bodies: bool = True
    count: int = 0
    follow: bool = False

    @property
    def query(self) -> str:
        asked = {"topic": self.topic}
        if self.queue:
            asked["queue"] = self.queue
        if self.bodies:
            asked["format"] = "raw"
        return urlencode(asked)


class PrintingSubscriber:
    """Prints messages until it has enough, is interrupted, or the connection ends (and is not to be made again)."""

    def __init__(self, reactor: Any, api: Api, wanted: Wanted) -> None:
        self._reactor = reactor
        self._api = api
        self._wanted = wanted
        self._left = wanted.count or -1
        #: A program gets the bytes as they are.
        self._terminal = sys.stdout.isatty()
        self._protocol: ListeningClient | None = None
        self._wait = _FIRST_WAIT
        self.code = 0

    def connect(self) -> None:
        """Begin. The reactor is stopped at the end."""
        host = f"[{self._api.host}]" if ":" in self._api.host else self._api.host
        scheme = "wss" if self._api.secure else "ws"
        url = f"{scheme}://{host}:{self._api.port}{self._api.path}/broker?{self._wanted.query}"
        try:
            where = endpoint(self._reactor, self._api)
        except Failed as error:
            self._complain(str(error), error.code)
            self._stop()
            return
        ended = listen(self._reactor, where, url, self._deliver, self._opened, self._api.credentials)
        ended.addCallbacks(self._ended, self._failed)

    def _opened(self, protocol: ListeningClient) -> None:
        self._protocol = protocol
        self._wait = _FIRST_WAIT
        if self._left == 0:
            self.leave()
            return
        # On standard error: the output stays messages only, and a script can wait for this line.
        sys.stderr.write(f"subscribed to {self._wanted.topic}\n")
        sys.stderr.flush()

    def _deliver(self, payload: bytes) -> None:
        if self._left == 0:
            return
        try:
            if self._terminal:
                payload = visible(payload.decode("utf-8", "backslashreplace")).encode("utf-8", "backslashreplace")
            sys.stdout.buffer.write(payload + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            self._left, self.code = 0, BROKEN_PIPE
        else:
            self._left -= 1
        if self._left == 0:
            self.leave()

    def leave(self) -> None:
        """Say goodbye; whatever comes after is not ours to print."""
        self._left = 0
        if self._protocol is not None:
            self._protocol.sendClose(1000)

    def _ended(self, how: Ended) -> None:
        opened, self._protocol = self._protocol is not None, None
        if self._left == 0:
            self._stop()
        elif opened:
            self._over(str(how))
        elif _REFUSED.search(str(how)):
            # The sidecar answered, and would not have us: asking again changes nothing.
            self._complain(f"no subscription at {self._api.address}: {how}", FAULT)
            self._stop()
        else:
            self._over(f"no subscription at {self._api.address}: {how}")

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        self._over(f"cannot reach a sidecar at {self._api.address}: {str(error) or type(error).__name__}")

    def _over(self, why: str) -> None:
        """The connection is no more, or never was."""
        if not self._wanted.follow:
            self._complain(why, UNAVAILABLE)
            self._stop()
            return
        sys.stderr.write(f"micro: {why}; connecting again in {self._wait:g} s\n")
        sys.stderr.flush()
        self._reactor.callLater(self._wait, self.connect)
        self._wait = min(self._wait * 2, _LONGEST_WAIT)

    def _stop(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def _complain(self, text: str, code: int) -> None:
        sys.stderr.write(f"micro: {text}\n")
        self.code = code


def subscribe(api: Api, wanted: Wanted) -> int:
    """:returns: the exit code."""
    from twisted.internet import reactor as installed

    reactor: Any = installed  # a module to mypy
    CachingResolver(reactor).install()
    subscriber = PrintingSubscriber(reactor, api, wanted)
    reactor.callWhenRunning(subscriber.connect)
    reactor.addSystemEventTrigger("before", "shutdown", subscriber.leave)
    reactor.run()
    return subscriber.code


def endpoint(reactor: Any, api: Api) -> IStreamClientEndpoint:
    """:returns: how to connect to the sidecar of ``api``. :raises Failed: a file of its trust is no good."""
    if api.unix:
        return endpoints.UNIXClientEndpoint(reactor, api.unix)
    from sidecar.net.client.endpoints import endpoint as endpoint_of

    plain = endpoint_of(reactor, api.host, api.port)
    if not api.secure:
        return plain
    # Imported here: OpenSSL is slow to load.
    from sidecar.cli.tls import client_tls

    return endpoints.wrapClientTLS(client_tls(api.host, api.trust), plain)
