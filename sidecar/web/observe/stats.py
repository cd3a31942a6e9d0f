"""``/stats``: the original's numbers and ours as JSON, or the dashboard, which asks for everything itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sidecar import __version__
from sidecar.stats import document
from sidecar.stats.recorder import StatsRecorder
from sidecar.web import assets
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json

_UNCACHED: Final = b"Cache-Control: no-store\r\nVary: Accept, Content-Type\r\n"
_JSON: Final = b"application/json"


def wants_json(fields: Mapping[bytes, bytes]) -> bool:
    """Whether who asks is a program: it says so by ``Accept``, or as the original had it by ``Content-Type``.

    :param fields: the header fields by their lower-case names."""
    return _JSON in fields.get(b"accept", b"").lower() or fields.get(b"content-type", b"").lower().startswith(_JSON)


def wants_page(fields: Mapping[bytes, bytes]) -> bool:
    """Whether who asks is certainly a browser that opens the page: the page alone holds nothing to keep from anybody.

    :param fields: the header fields by their lower-case names."""
    return b"text/html" in fields.get(b"accept", b"").lower() and not wants_json(fields)


class StatsResource(MethodResource):
    """GET shows the statistics."""

    def __init__(self, recorder: StatsRecorder, facts: Mapping[str, Callable[[], object]]) -> None:
        """:param facts: further keys of the document; each is asked for its JSON value when somebody looks."""
        super().__init__({"GET": self._show})
        self._recorder = recorder
        self._facts = facts
        self._page = assets.read("stats.html").body
        self._headers = b"Content-Type: text/html; charset=utf-8\r\n" + assets.SECURITY + _UNCACHED

    def _show(self, request: Request) -> Answer:
        if wants_json(request.fields):
            return of_json(self._numbers(), _UNCACHED)
        if request.path.endswith(b"/"):
            # The page names its parts by relative paths, so that a proxy may serve it below a path of its own.
            return Answer(b"", 308, b"Location: ../stats\r\n" + _UNCACHED)
        return Answer(self._page, headers=self._headers)

    def _numbers(self) -> dict[str, object]:
        now = self._recorder.snapshot()
        windows = (document.window(counts.timestamp, counts.classes, counts.total) for counts in now.windows)
        told = {
            **document.document(now.started, now.memory, now.threads, now.gc_pause, windows),
            "version": __version__,
            "latency_ms": {name: round(getattr(now.latency, name) * 1000, 3) for name in ("p50", "p90", "p99")},
        }
        # Nothing of ours takes the place of what the original tells.
        return {**told, **{key: ask() for key, ask in self._facts.items() if key not in told}}
