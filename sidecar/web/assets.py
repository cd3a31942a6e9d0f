"""``/stats/...``: what the dashboard is made of. It holds nothing of this sidecar's, so everybody may have it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from attrs import frozen

from sidecar.errors import NotFound
from sidecar.web.params import shown
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request

#: What the paths of all assets begin with, and their path in the table of routes.
PREFIX: Final = b"/stats/"
ROUTE: Final = b"/stats/{asset}"
_TYPES: Final = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "svg": b"image/svg+xml",
    "LICENSE": b"text/plain; charset=utf-8",
}
#: Nothing from elsewhere, nothing written into the page, and no text that becomes markup.
SECURITY: Final = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Referrer-Policy: no-referrer\r\n"
    b"Cross-Origin-Resource-Policy: same-origin\r\n"
)


@frozen
class Asset:
    """One file. :ivar tag: what tells it from others of its name, for ``ETag``."""

    body: bytes
    headers: bytes
    tag: bytes


def is_asset(path: bytes) -> bool:
    """Whether a path is below that of the page; with a slash at its end it is the page's own."""
    return path.startswith(PREFIX) and path != PREFIX


def read(name: str) -> Asset:
    """:param name: of a file in ``static``."""
    return _asset(files("sidecar.web").joinpath("static", *name.split("/")))


def read_all() -> dict[bytes, Asset]:
    """:returns: every file but the page itself, by the rest of its path."""
    return dict(_below(files("sidecar.web").joinpath("static"), b""))


def _below(folder: Any, path: bytes) -> Iterator[tuple[bytes, Asset]]:
    for entry in folder.iterdir():
        name = path + entry.name.encode("ascii")
        if entry.is_dir():
            yield from _below(entry, name + b"/")
        elif entry.name.rpartition(".")[2] in _TYPES and not entry.name.endswith(".html"):
            yield name, _asset(entry)


def _asset(file: Any) -> Asset:
    body = file.read_bytes()
    tag = b'"%b"' % b64encode(sha256(body).digest()[:12])
    kind = _TYPES[file.name.rpartition(".")[2]]
    headers = b"Content-Type: %b\r\nETag: %b\r\nCache-Control: no-cache\r\n%b" % (kind, tag, SECURITY)
    return Asset(body, headers, tag)


class AssetsResource(MethodResource):
    """GET gives an asset."""

    def __init__(self, assets: Mapping[bytes, Asset]) -> None:
        """:param assets: by the rest of their paths."""
        super().__init__({"GET": self._give})
        self._assets = assets

    def _give(self, request: Request) -> Answer:
        found = self._assets.get(request.path[len(PREFIX) :])
        if found is None:
            raise NotFound(f"the dashboard at /stats has no part {shown(request.path)}")
        if found.tag in [tag.strip() for tag in request.fields.get(b"if-none-match", b"").split(b",")]:
            return Answer(b"", 304, found.headers)
        return Answer(found.body, headers=found.headers)
