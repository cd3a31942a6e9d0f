"""What the user said, flag by flag, read and not yet put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

#: Which of two sources counts: the one with the higher number.
DEFAULT, FILE, ENVIRONMENT, FLAG = range(4)


@frozen
class Source:
    """What the user said.

    :ivar values: every flag's value by name, defaults included; None where there is none.
    :ivar precedences: where it was said (``FLAG``, ``ENVIRONMENT``, ``FILE``); absent for a default.
    :ivar environ: for the variables that engines' own tools read.
    :ivar ids: those that were made for apps before, by name and address.
    """

    values: Mapping[str, Any]
    precedences: Mapping[str, int]
    environ: Mapping[str, str]
    ids: dict[str, str] = field(factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def text(self, name: str) -> str:
        return self.values[name] or ""

    def is_given(self, name: str) -> bool:
        return name in self.precedences
