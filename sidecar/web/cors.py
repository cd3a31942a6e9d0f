"""Which pages in a browser may talk to us: those of our own host, and the origins that ``--sidecar_cors`` names.

On loopback a page is the attacker: its browser sends what it likes to ``http://127.0.0.1:8081``, and only the answer is
kept from it by CORS. So no page asks under a name that is not ours, or changes something from another site. Programs
send neither ``Origin`` nor ``Sec-Fetch-Site``, and are not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sidecar.errors import BadRequest, CallerError, Forbidden, Misdirected
from sidecar.net.http.hosts import AllowedHosts, normal_origin, same_host
from sidecar.web.params import shown
from sidecar.web.response import Request

METHODS = b"POST, GET, OPTIONS, PUT, DELETE"
#: Request headers that are always allowed, whether they are asked for or not: the original's.
HEADERS = b"Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization"
#: Headers of our own answers, which a page could not read otherwise.
EXPOSED = b"Allow, Date, Retry-After, Server, Warning, WWW-Authenticate, X-Micro-Index"
#: Seconds for which a browser may remember a preflight.
MAX_AGE = b"7200"

#: Request headers that no page may set: they speak for the connection, for a proxy in front of us, or for the browser.
_DANGEROUS = re.compile(
    rb"(host|cookie2?|origin|referer|connection|keep-alive|te|trailers?|transfer-encoding|upgrade|expect|via|forwarded"
    rb"|x-forwarded-.*|x-real-ip|x-original-.*|x-rewrite-.*|x-http-method.*|x-method-override|proxy-.*|sec-.*"
    rb"|access-control-.*|x-envoy-.*|(x-)?micro-(topic|target|protocol|error|stream|id))"
)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class CorsPolicy:
    """The one place that judges an ``Origin``.

    A program that is no browser sends no ``Origin``, and is none of this policy's business.
    """

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        """:param allowed: origins like ``https://app.example.com``; ``*`` among them means every one. Pages of the host
        that the request was sent to are always welcome."""
        self._any_origin = "*" in allowed
        self._allowed = frozenset(normal_origin(origin) for origin in allowed)

    def permits(self, origin: bytes, host: bytes | None) -> bool:
        """Whether a page of ``origin`` may do whatever a program may. :param host: the ``Host`` that it asked."""
        return self._any_origin or self._named(origin, host)

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

    def names(self, origin: bytes | None) -> bool:
        """Whether a page of ``origin`` may since it is named, or since every one is."""
        if self._any_origin:
            return True
        return origin is not None and normal_origin(origin.decode("latin-1")) in self._allowed

    def _named(self, origin: bytes, host: bytes | None) -> bool:
        return normal_origin(origin.decode("latin-1")) in self._allowed or same_host(origin, host)


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


# --- Requests that no page may make ----------------------------------------------------------------------------------

#: Methods that change nothing.
_SAFE = (b"GET", b"HEAD", b"OPTIONS")


class BrowserPolicy:
    """Judges each request before anything is done for it."""

    def __init__(self, hosts: AllowedHosts, cors: CorsPolicy) -> None:
        """:param hosts: the names that we go by. :param cors: whose pages may do what programs may."""
        self._hosts = hosts
        self._cors = cors

    def problem(self, request: Request) -> CallerError | None:
        """Why ``request`` is refused, or None."""
        fields = request.fields
        host = fields.get(b"host")
        if not self._hosts.allows(host) and not _over_unix_socket(request):
            return Misdirected(
                f"Host {shown(host or b'')} is no name of this sidecar's: ask it by its address, or name it in "
                "--sidecar_hosts"
            )
        origin, site = fields.get(b"origin"), fields.get(b"sec-fetch-site")
        if origin is None and site is None:
            return None
        if origin is not None and sum(name.lower() == b"origin" for name, _ in request.fields_raw) > 1:
            return BadRequest("Origin: given more than once")
        if request.method in _SAFE:
            return None
        deed = f"{shown(request.method, 20)} to {shown(request.path)}"
        if origin is not None and not self._cors.permits(origin, host):
            return Forbidden(refusal(origin, host, deed))
        if site is not None and site.strip().lower() == b"cross-site" and not self._cors.names(origin):
            return Forbidden(
                f"Sec-Fetch-Site cross-site: a page of another site may not {deed}; name its origin in --sidecar_cors"
            )
        return None


def _over_unix_socket(request: Request) -> bool:
    """Whoever opens a socket's file is no page."""
    channel = request.channel
    return channel is not None and hasattr(channel.getHost(), "name")
