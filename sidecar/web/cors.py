"""Which pages in a browser may talk to us: those of our own host, and the origins that ``--sidecar_cors`` names."""

from __future__ import annotations

from urllib.parse import urlsplit

from sidecar.web.response import Request

METHODS = b"POST, GET, OPTIONS, PUT, DELETE"
HEADERS = b"Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization"

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

    def headers_for(self, origin: bytes, host: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
        """:returns: the headers that let a page of ``origin`` read an answer; none where it may not.

        :param host: the ``Host`` that it asked.
        """
        named = self._named(origin, host)
        if not named and not self._any_origin:
            return ((b"Vary", b"Origin"),)
        headers = (
            (b"Access-Control-Allow-Origin", origin),
            (b"Access-Control-Allow-Methods", METHODS),
            (b"Access-Control-Allow-Headers", HEADERS),
            (b"Vary", b"Origin"),
        )
        # Where everybody may come, nobody comes with the user's cookies.
        return (*headers, (b"Access-Control-Allow-Credentials", b"true")) if named else headers

    def permits_websocket(self, origin: bytes | None, host: bytes | None) -> bool:
        """Whether a WebSocket may be opened from ``origin``. Browsers ask nobody else before they open one."""
        return origin is None or self._any_origin or self._named(origin, host)

    def apply(self, request: Request) -> None:
        """Set the headers on ``request``, if a page asks."""
        origin = request.fields.get(b"origin")
        if origin is None:
            return
        for name, value in self.headers_for(origin, request.fields.get(b"host")):
            request.setHeader(name, value)  # type: ignore[attr-defined]  # both our requests are twisted.web's

    def _named(self, origin: bytes, host: bytes | None) -> bool:
        normal = _normal(origin.decode("latin-1"))
        if normal in self._allowed:
            return True
        scheme, mark, rest = normal.partition("://")
        return (
            bool(mark) and host is not None and _normal(f"{scheme}://{host.decode('latin-1')}") == f"{scheme}://{rest}"
        )


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
