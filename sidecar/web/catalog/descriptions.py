"""Encoded answers about services, kept until something changes."""

from __future__ import annotations

from typing import Final, Literal

from attrs import define, field
from zope.interface import implementer

from sidecar.interfaces import IWatcher
from sidecar.model import Change
from sidecar.waiting import Freshness
from sidecar.web.response import Answer

Form = Literal["object", "array"]
#: What an answer is kept by: a service, in a form, fresh or stale.
Key = tuple[str, Form, bool]

#: Answers that are kept encoded, and the bytes that they may hold together.
MAX_KEPT: Final = 4096
MAX_KEPT_BYTES: Final = 16 * 1024 * 1024


@implementer(IWatcher)
@define(eq=False)
class Descriptions:
    """Encoded descriptions of services, kept until the service changes."""

    _kept: dict[Key, Answer] = field(factory=dict, init=False)
    _bytes: int = field(default=0, init=False)
    #: So that an answer which was asked for before a change is not kept after it.
    fresh: Freshness = field(factory=Freshness, init=False)

    def changed(self, change: Change) -> None:
        self.forget(change.service.name)

    def invalidated(self, name: str) -> None:
        self.forget(name)

    def get(self, key: Key) -> Answer | None:
        return self._kept.get(key)

    def keep(self, key: Key, answer: Answer) -> None:
        if len(self._kept) >= MAX_KEPT or self._bytes + len(answer.body) > MAX_KEPT_BYTES:
            # Starting over costs one encoding a service in use, and no bookkeeping on each read.
            self._kept.clear()
            self._bytes = 0
        if len(answer.body) <= MAX_KEPT_BYTES:
            self._kept[key] = answer
            self._bytes += len(answer.body)

    def forget(self, name: str) -> None:
        self.fresh.changed()
        for form in ("object", "array"):
            for stale in (False, True):
                gone = self._kept.pop((name, form, stale), None)
                if gone is not None:
                    self._bytes -= len(gone.body)
