"""Which pages in a browser may talk to us: those of our own host, and the origins that ``--sidecar_cors`` names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from sidecar.web.params import shown
from sidecar.web.response import Request

METHODS = b"POST, GET, OPTIONS, PUT, DELETE"
#: Request headers that are always allowed, whether they are asked for or not: the original's.
HEADERS = b"Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization"
#: Headers of our own answers, which a page could not read otherwise.
EXPOSED = b"Allow, Date, Retry-After, Server, Warning, WWW-Authenticate"
#: Seconds for which a browser may remember a preflight.
MAX_AGE = b"7200"

#: Request headers that no page may set: they speak for the connection, for a proxy in front of us, or for the browser.
_DANGEROUS = re.compile(
    rb"(host|cookie2?|origin|referer|connection|keep-alive|te|trailers?|transfer-encoding|upgrade|expect|via|forwarded"
    rb"|x-forwarded-.*|x-real-ip|x-original-.*|x-rewrite-.*|x-http-method.*|x-method-override|proxy-.*|sec-.*"
    rb"|access-control-.*|x-envoy-.*|(x-)?micro-(topic|target|protocol|error|stream|id))"
)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class CorsPolicy:
    """The one place that judges an ``Origin``.

    A program that is no browser sends no ``Origin``, and is none of this policy's business.
    """

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        """:param allowed: origins like ``https://app.example.com``; ``*`` among them means every one. Pages of the host
        that the request was sent to are always welcome."""
        self._any_origin = "*" in allowed
        self._allowed = frozenset(_normal(origin) for origin in allowed)

    def permits(self, origin: bytes, host: bytes | None) -> bool:
        """Whether a page of ``origin`` may do whatever a program may. :param host: the ``Host`` that it asked."""
        return self._any_origin or self._named(origin, host)

    @property
    def permits_all(self) -> bool:
        """Whether every page may."""
        return self._any_origin

    def headers_for(self, origin: bytes, host: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
        """:returns: the headers that let a page of ``origin`` read an answer; none where it may not.

        :param host: the ``Host`` that it asked.
        """
        return self._headers(origin, host, HEADERS, (b"Access-Control-Expose-Headers", EXPOSED))

    def preflight_headers(
        self, origin: bytes, host: bytes | None, asked: bytes = b"", private: bool = False
    ) -> tuple[tuple[bytes, bytes], ...]:
        """:returns: the headers that let a page of ``origin`` make the request that it asks about; none where it may
        not.

        :param asked: the request headers that it wants to set, by comma.
        :param private: the browser asks whether the page may reach into a private network.
        """
        known = {name.lower() for name in HEADERS.split(b", ")}
        more = [name for name in _names(asked) if name not in known and not _DANGEROUS.fullmatch(name)]
        extra = [(b"Access-Control-Max-Age", MAX_AGE)]
        if private:
            extra.append((b"Access-Control-Allow-Private-Network", b"true"))
        return self._headers(origin, host, b", ".join((HEADERS, *more)), *extra)

    def _headers(
        self, origin: bytes, host: bytes | None, allowed: bytes, *more: tuple[bytes, bytes]
    ) -> tuple[tuple[bytes, bytes], ...]:
        named = self._named(origin, host)
        if not named and not self._any_origin:
            return ((b"Vary", b"Origin"),)
        headers = (
            (b"Access-Control-Allow-Origin", origin),
            (b"Access-Control-Allow-Methods", METHODS),
            (b"Access-Control-Allow-Headers", allowed),
            (b"Vary", b"Origin"),
            *more,
        )
        # Where everybody may come, nobody comes with the user's cookies.
        return (*headers, (b"Access-Control-Allow-Credentials", b"true")) if named else headers

    def permits_websocket(self, origin: bytes | None, host: bytes | None) -> bool:
        """Whether a WebSocket may be opened from ``origin``. Browsers ask nobody else before they open one."""
        return origin is None or self.permits(origin, host)

    def apply(self, request: Request) -> None:
        """Set the headers on ``request``, if a page asks."""
        origin = request.fields.get(b"origin")
        if origin is None:
            return
        fields = request.fields
        host = fields.get(b"host")
        if request.method == b"OPTIONS" and b"access-control-request-method" in fields:
            private = fields.get(b"access-control-request-private-network") == b"true"
            headers = self.preflight_headers(origin, host, fields.get(b"access-control-request-headers", b""), private)
        else:
            headers = self.headers_for(origin, host)
        for name, value in headers:
            request.setHeader(name, value)  # type: ignore[attr-defined]  # both our requests are twisted.web's

    def _named(self, origin: bytes, host: bytes | None) -> bool:
        normal = _normal(origin.decode("latin-1"))
        if normal in self._allowed:
            return True
        scheme, mark, rest = normal.partition("://")
        return (
            bool(mark) and host is not None and _normal(f"{scheme}://{host.decode('latin-1')}") == f"{scheme}://{rest}"
        )


def refusal(origin: bytes, host: bytes | None, deed: str) -> str:
    """Why a page may not do something, and what to set so that it may. :param deed: in words."""
    seen = "none" if host is None else shown(host)
    return (
        f"Origin {shown(origin)} may not {deed}: the Host of the request was {seen}. Name the origin in --sidecar_cors "
        "or, where a proxy stands before the sidecar, have it hand on the Host that the page asked (nginx: "
        "proxy_set_header Host $http_host;)"
    )


def _names(listed: bytes) -> Iterable[bytes]:
    """The header names in a list, in lower case, each once."""
    names = (name.strip().lower() for name in listed.split(b","))
    return dict.fromkeys(name for name in names if _TOKEN.fullmatch(name))


def _normal(origin: str) -> str:
    """An origin as browsers compare them: lower case, the scheme's own port left out."""
    lower = origin.strip().lower().rstrip("/")
    try:
        parts = urlsplit(lower)
        port = parts.port
    except ValueError:
        return lower
    if not parts.scheme or not parts.hostname:
        return lower
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" if port in (None, _PORTS.get(parts.scheme)) else f"{parts.scheme}://{host}:{port}"
