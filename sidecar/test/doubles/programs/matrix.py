"""The interoperability matrix: what was tried with each generation through each registry, and how it went.

``python -m sidecar.test.doubles.programs.matrix DIRECTORY`` prints the table of a run whose results are there;
``--write docs/interop.rst`` puts it into the document.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attrs import frozen

from sidecar.test.doubles.programs import say, world
from sidecar.test.doubles.programs.say import GENERATIONS

#: Where a run leaves its results: this variable names it.
RESULTS = "MICROSIDECAR_MATRIX"

REGISTRIES = ("consul", "etcd", "mdns", "nats")

#: What passes between the sidecar and a program of go-micro, with its heading in the table.
CELLS: Mapping[str, str] = {
    "call": "we call it",
    "error": "coded error",
    "metadata": "metadata",
    "timeout": "timeout",
    "stream": "stream",
    "called": "it calls our app",
    "called http": "it calls our HTTP app",
    "http in": "it publishes to us, http",
    "http out": "we publish to it, http",
    "nats in": "it publishes to us, nats",
    "nats out": "we publish to it, nats",
}

#: Cells that cannot be, by protocol and cell, with the reason.
IMPOSSIBLE: Mapping[tuple[str, str], str] = {
    ("grpc", "called"): (
        "go-micro v2's gRPC client speaks gRPC to every node, whatever its metadata says, so it cannot call an app"
        " that speaks JSON-RPC itself; an app behind --server_protocol=http it can (next column)"
    ),
}

MEMORY = (
    "The memory registry is inside one process, so nothing of go-micro can share it. Services of v1.18.0, v2.9.1,"
    " v4.11.0 and v5.30.0 that are registered in it by POST /registry are called in sidecar.test.interop.test_services."
)

#: What passes over a broker of its own, with its heading in the brokers' table.
BROKER_CELLS: Mapping[str, str] = {
    "in": "it publishes to us",
    "out": "we publish to it",
    "raw in": "its broker to us",
    "raw out": "we to its broker",
    "group": "one group",
    "kept": "kept while away",
}

#: Cells that cannot be, by broker and cell, with the reason.
BROKER_IMPOSSIBLE: Mapping[tuple[str, str], str] = {
    ("redis", "group"): "go-micro's Redis plugin has no queue groups: every subscriber of its hears all",
    ("redis", "kept"): "Redis keeps nothing for subscribers that are away",
    ("events", "raw in"): "events have no level below that of the first two columns",
    ("events", "raw out"): "events have no level below that of the first two columns",
}

#: Characters of what went wrong that the table tells.
_WORDS = 400

_BEGIN, _END = ".. the table begins", ".. the table ends"


@frozen
class Row:
    """One program of go-micro in one world."""

    registry: str
    generation: str
    protocol: str

    @property
    def name(self) -> str:
        """Fit for the name of a service, a topic or a file."""
        return f"{self.registry}-{self.generation}-{self.protocol}".replace(".", "-")

    @property
    def peer(self) -> str:
        return f"{self.generation} {self.protocol}"

    def reason(self, cell: str) -> str | None:
        """Why this cell cannot be, or None where it can."""
        return IMPOSSIBLE.get((self.protocol, cell))


@frozen
class BrokerRow:
    """One generation on one broker; ``events`` are those of JetStream."""

    broker: str
    generation: str

    @property
    def name(self) -> str:
        """Fit for the name of a file."""
        return f"broker-{self.broker}-{self.generation}".replace(".", "-")

    def reason(self, cell: str) -> str | None:
        """Why this cell cannot be, or None where it can."""
        return BROKER_IMPOSSIBLE.get((self.broker, cell))


#: v4's plugins, and what v5 has in its own tree: it has no Redis.
BROKER_ROWS = (
    BrokerRow("rabbitmq", "v4.11.0"),
    BrokerRow("rabbitmq", "v5.30.0"),
    BrokerRow("redis", "v4.11.0"),
    BrokerRow("events", "v4.11.0"),
    BrokerRow("events", "v5.30.0"),
)


def rows(registry: str) -> tuple[Row, ...]:
    """v2 speaks gRPC by default, and mucp by choice."""
    return tuple(
        Row(registry, generation, protocol)
        for generation in GENERATIONS
        for protocol in (("grpc", "mucp") if generation == "v2.9.1" else ("mucp",))
    )


def keep(row: Row, outcomes: Mapping[str, str]) -> None:
    """Leave the outcomes of a row, ``ok`` or what went wrong by cell, for the table."""
    place = Path(os.environ.get(RESULTS) or "matrix")
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{row.name}.json").write_text(json.dumps(dict(outcomes)))


def keep_broker(row: BrokerRow, outcomes: Mapping[str, str]) -> None:
    """The same of a row of the brokers' table."""
    place = Path(os.environ.get(RESULTS) or "matrix")
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{row.name}.json").write_text(json.dumps(dict(outcomes)))


class _Notes:
    """What the tables say beneath, each once, by number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def number(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f"({self.texts.index(text) + 1})"

    def cells(
        self, path: Path, where: str, why: str, cells: Mapping[str, str], reason: Callable[[str], str | None]
    ) -> list[str]:
        """A row's cells, by its results in ``path``. :param why: why there may be none."""
        outcomes: dict[str, str] = json.loads(path.read_text()) if path.exists() else {"": why}
        line = []
        for cell, heading in cells.items():
            outcome = outcomes.get(cell) or outcomes.get("", "not run")
            impossible = reason(cell)
            if impossible is not None:
                line.append("n/a " + self.number(impossible))
            elif outcome == "ok":
                line.append("yes")
            else:
                place = where + (f", {heading}" if cell in outcomes else "")
                what = " ".join(outcome.split())[:_WORDS]
                line.append("NO " + self.number(f"{place}: {what}" if path.exists() else what))
        return line


def table(place: Path) -> str:
    """Both tables, every cell with its outcome or its reason, as reStructuredText that reads well as it is."""
    notes = _Notes()
    lines = [["registry", "go-micro", *CELLS.values()]]
    lines.append(["memory", "all", *["n/a " + notes.number(MEMORY)] * len(CELLS)])
    for row in (row for registry in REGISTRIES for row in rows(registry)):
        path, where = place / f"{row.name}.json", f"{row.registry}, {row.peer}"
        lines.append([row.registry, row.peer, *notes.cells(path, where, _not_run(row.registry), CELLS, row.reason)])
    brokers = [["broker", "go-micro", *BROKER_CELLS.values()]]
    for one in BROKER_ROWS:
        path, where = place / f"{one.name}.json", f"{one.broker}, {one.generation}"
        why = f"not run: {say.missing(one.generation) or 'its server is not installed, or nobody tried'}"
        brokers.append([one.broker, one.generation, *notes.cells(path, where, why, BROKER_CELLS, one.reason)])
    told = (f"({number}) {text}\n" for number, text in enumerate(notes.texts, 1))
    return "\n".join([*_grid(lines), "", *_grid(brokers), "", *told])


def _not_run(registry: str) -> str:
    return f"not run: {say.missing(*GENERATIONS) or world.why_not(registry) or 'nobody tried'}"


def _grid(lines: list[list[str]]) -> Iterable[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = "  ".join("=" * width for width in widths)
    for number, line in enumerate(lines):
        if number < 2:
            yield rule
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    yield rule


def write(document: Path, text: str) -> None:
    """Put the table into the document, between the two comments that mark its place."""
    before, _, rest = document.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    document.write_text(f"{before}{_BEGIN}\n\n{text}\n{_END}{after}")


def main(arguments: list[str]) -> None:
    *option, place = arguments
    text = table(Path(place))
    if option[:1] == ["--write"]:
        write(Path(option[1]), text)
    else:
        sys.stdout.write(f"\nInteroperability\n\n{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
