"""Where the spans that are to come belong."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from attrs import define, field

#: Spans that are remembered before they are over.
_MOST: Final = 10_000


@define(eq=False)
class Parents:
    """Remembers whose child each span is that was given an id before it is recorded: the first one of a trace is
    nobody's."""

    _by_span: OrderedDict[str, str] = field(factory=OrderedDict, init=False)

    def put(self, span_id: str, parent: str) -> None:
        """:param parent: the id of the span that it is a part of, "" for none."""
        self._by_span[span_id] = parent
        if len(self._by_span) > _MOST:
            self._by_span.popitem(last=False)

    def take(self, span_id: str) -> str:
        """:returns: the parent of a span that is recorded now, "" where none is known."""
        return self._by_span.pop(span_id, "")

    def of_child(self, span_id: str) -> str:
        """:returns: the parent of a new span under ``span_id``: that one, unless it is never recorded itself."""
        return self._by_span.get(span_id, span_id)
