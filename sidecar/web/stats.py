"""``/stats``: the original's numbers and ours, as JSON or as a page that needs nothing from elsewhere."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.resources import files

import orjson

from sidecar import __version__
from sidecar.stats import document
from sidecar.stats.recorder import StatsRecorder
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json

_UNCACHED = b"Cache-Control: no-store\r\nVary: Accept, Content-Type\r\n"
_JSON = b"application/json"
#: Where the page has the numbers of the moment written into it.
_PLACE = b"/*numbers*/null"


class StatsResource(MethodResource):
    """GET shows the statistics."""

    def __init__(self, recorder: StatsRecorder, facts: Mapping[str, Callable[[], object]]) -> None:
        """:param facts: further keys of the document; each is asked for its JSON value when somebody looks."""
        super().__init__({"GET": self._show})
        self._recorder = recorder
        self._facts = facts
        self._page = files("sidecar.web").joinpath("static", "stats.html").read_bytes()
        self._headers = b"".join(
            (
                b"Content-Type: text/html; charset=utf-8\r\n",
                b"Content-Security-Policy: %b\r\n" % _policy(self._page),
                b"X-Content-Type-Options: nosniff\r\n",
                b"Referrer-Policy: no-referrer\r\n",
                _UNCACHED,
            )
        )

    def _show(self, request: Request) -> Answer:
        numbers = self._numbers()
        accepted = request.fields.get(b"accept", b"")
        sent = request.fields.get(b"content-type", b"")
        if _JSON in accepted.lower() or sent.lower().startswith(_JSON):
            return of_json(numbers, _UNCACHED)
        # In a script element nothing but "<" can end the data; JSON may write it as an escape.
        data = orjson.dumps(numbers).replace(b"<", rb"\u003c")
        return Answer(self._page.replace(_PLACE, data), headers=self._headers)

    def _numbers(self) -> dict[str, object]:
        now = self._recorder.snapshot()
        windows = (document.window(counts.timestamp, counts.classes, counts.total) for counts in now.windows)
        return {
            **document.document(now.started, now.memory, now.threads, now.gc_pause, windows),
            "version": __version__,
            "latency_ms": {name: round(getattr(now.latency, name) * 1000, 3) for name in ("p50", "p90", "p99")},
            **{key: ask() for key, ask in self._facts.items()},
        }


def _policy(page: bytes) -> bytes:
    """A Content-Security-Policy that lets exactly this page's own script and style run, and nothing from elsewhere."""

    def allowed(element: bytes) -> bytes:
        blocks = re.findall(b"<" + element + b">(.*?)</" + element + b">", page, re.DOTALL)
        return b" ".join(b"'sha256-" + b64encode(sha256(block).digest()) + b"'" for block in blocks)

    return (
        b"default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'; "
        b"script-src " + allowed(b"script") + b"; style-src " + allowed(b"style")
    )
