"""The interoperability matrix: what was tried with each generation through each registry, and how it went.

``python -m sidecar.test.doubles.programs.matrix DIRECTORY`` prints the table of a run whose results are there;
``--write docs/interop.rst`` puts it into the document.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
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


def table(place: Path) -> str:
    """The whole table, every cell with its outcome or its reason, as reStructuredText that reads well as it is."""
    notes: list[str] = []

    def note(text: str) -> str:
        if text not in notes:
            notes.append(text)
        return f"({notes.index(text) + 1})"

    lines = [["registry", "go-micro", *CELLS.values()]]
    lines.append(["memory", "all", *["n/a " + note(MEMORY)] * len(CELLS)])
    for row in (row for registry in REGISTRIES for row in rows(registry)):
        path = place / f"{row.name}.json"
        outcomes: dict[str, str] = json.loads(path.read_text()) if path.exists() else {"": _not_run(row.registry)}
        line = [row.registry, row.peer]
        for cell in CELLS:
            outcome = outcomes.get(cell) or outcomes.get("", "not run")
            reason = row.reason(cell)
            if reason is not None:
                line.append("n/a " + note(reason))
            elif outcome == "ok":
                line.append("yes")
            else:
                where = f"{row.registry}, {row.peer}" + (f", {CELLS[cell]}" if cell in outcomes else "")
                what = " ".join(outcome.split())[:_WORDS]
                line.append("NO " + note(f"{where}: {what}" if path.exists() else what))
        lines.append(line)
    return "\n".join([*_grid(lines), "", *(f"({number}) {text}\n" for number, text in enumerate(notes, 1))])


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
