"""A ``twisted.web.server.Request`` that makes what its base classes keep as attributes when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeVar, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.web import http, server
from twisted.web.http_headers import Headers

from sidecar.net.http.events import Head
from sidecar.net.http.server import RequestChannel

_T = TypeVar("_T")


class _Lazy:
    """Computes an attribute on first use. (``functools.cached_property`` takes a lock for it before Python 3.12.)"""

    def __init__(self, make: Callable[[Any], object]) -> None:
        self._make = make

    def __get__(self, instance: Any, owner: type) -> object:
        value = instance.__dict__[self._make.__name__] = self._make(instance)
        return value


def _lazy(make: Callable[[Any], _T]) -> _T:
    return cast(_T, _Lazy(make))


class LazyRequest(server.Request):
    """The reading side of a request.

    The base classes' constructors are what this class exists to avoid: all that they set is here, on demand.

    :ivar upgrade: the client asks for another protocol.
    :ivar id_line: the header line of its id, by which logs and receipts know it.
    :ivar body: all of it, unless the resource takes it as it comes.
    :ivar trailers: the fields that followed a body in chunks.
    :ivar dressed: header fields or cookies for the answer were set.
    """

    channel: RequestChannel | None  # type: ignore[assignment]  # the base class says otherwise
    site: Any
    transport: Any
    body: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    upgrade = False
    id_line: bytes | None = None  # made when somebody asks for it
    queued = False
    dressed = False
    _watched = False  # somebody waits for the end

    def __init__(self, channel: RequestChannel, head: Head) -> None:
        self.head = head
        self.channel = channel
        self.transport = channel.transport
        self.method = head.method
        self.uri = head.uri
        self.path = head.path
        self.clientproto = head.version
        self.fields = head.fields
        self.fields_raw = head.fields_raw
        if head.upgrade:
            self.upgrade = True

    @_lazy
    def prepath(self) -> list[bytes]:
        return []

    @_lazy
    def postpath(self) -> list[bytes]:
        segments = self.path[1:].split(b"/")
        return [unquote_to_bytes(segment) for segment in segments] if b"%" in self.path else segments

    @_lazy
    def requestHeaders(self) -> Headers:
        headers = Headers()
        for name, value in self.fields_raw:
            headers.addRawHeader(name, value)
        return headers

    @_lazy
    def responseHeaders(self) -> Headers:
        self.dressed = True
        return Headers()

    @_lazy
    def cookies(self) -> list[bytes]:
        self.dressed = True
        return []

    @_lazy
    def notifications(self) -> list[Deferred[None]]:
        self._watched = True
        return []

    @_lazy
    def _adapterCache(self) -> dict[str, object]:  # Componentized's store
        return {}

    @_lazy
    def received_cookies(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        self.__dict__["received_cookies"] = found  # where parseCookies puts them
        self.parseCookies()
        return found

    @_lazy
    def client(self) -> IAddress | None:
        return self.channel.getPeer() if self.channel is not None else None

    @_lazy
    def host(self) -> IAddress | None:
        return self.channel.getHost() if self.channel is not None else None

    @_lazy
    def content(self) -> BytesIO:
        # Autobahn takes the content of a request to upgrade for what was received after it.
        return BytesIO(self.body if not self.upgrade or self.channel is None else self.channel.following())

    @_lazy
    def args(self) -> dict[bytes, list[bytes]]:
        """Query and, in a POST, URL-encoded form fields, as twisted.web gives them; multipart bodies are left alone."""
        _, _, query = self.uri.partition(b"?")
        args: dict[bytes, list[bytes]] = http.parse_qs(query, 1) if query else {}
        if self.method == b"POST" and self.body:
            kind = self.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if kind == b"application/x-www-form-urlencoded":
                args.update(http.parse_qs(self.body, 1))
        return args

    def getHeader(self, key: Any) -> Any:
        if isinstance(key, bytes) and "requestHeaders" not in self.__dict__:
            return self.fields.get(key.lower())
        return super().getHeader(key)
