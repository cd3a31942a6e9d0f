"""Rounds of alternating measurements, and the table of medians, spreads and ratios that they give."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from bench.programs import Missing


@frozen
class Row:
    """:ivar what: the load. :ivar who: the program. :ivar values: one a round. :ivar ratio: our median over the
    peer's, where this row is a peer's. :ivar unit: as printed."""

    what: str
    who: str
    values: tuple[float, ...]
    unit: str
    ratio: float | None = None


@define
class Table:
    """Collects rows. :ivar left_out: what could not be measured here, and why. :ivar errors: failed calls seen."""

    rounds: int
    rows: list[Row] = field(factory=list)
    left_out: list[str] = field(factory=list)
    errors: int = 0

    def alternate(self, what: str, unit: str, ours: str, measures: Mapping[str, Callable[[], float]]) -> None:
        """Run every measure once a round, in turn, so that a slow minute is slow for all.

        :param ours: the key among ``measures`` that the others are compared with.
        """
        values: dict[str, list[float]] = {who: [] for who in measures}
        for _ in range(self.rounds):
            for who, measure in measures.items():
                values[who].append(measure())
        base = statistics.median(values[ours])
        for who, taken in values.items():
            median = statistics.median(taken)
            ratio = base / median if who != ours and median else None
            self.add(Row(what, who, tuple(taken), unit, ratio))

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(line(row), flush=True)

    def attempt(self, suite: Callable[[Table], None], name: str) -> None:
        """Run a suite; where a peer is missing, say so and go on."""
        try:
            suite(self)
        except Missing as reason:
            self.left_out.append(f"{name}: {reason}")
            print(f"left out: {name}: {reason}", flush=True)


def line(row: Row) -> str:
    median = statistics.median(row.values)
    spread = f"{min(row.values):,.4g} to {max(row.values):,.4g}" if len(row.values) > 1 else ""
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
    return f"{row.what:<44} {row.who:<22} {median:>12,.4g} {row.unit:<12} {spread:<26} {ratio}"


HEADING = f"{'load':<44} {'program':<22} {'median':>12} {'unit':<12} {'least to most':<26} ours / its"
