"""The table of the interoperability matrix: every cell has an outcome or a reason."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs import matrix
from sidecar.test.doubles.programs.process import checkout, no_checkout

ROWS = [row for registry in matrix.REGISTRIES for row in matrix.rows(registry)]


class TableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Path(self.mktemp())
        self.patch(os, "environ", {**os.environ, matrix.RESULTS: str(self.place)})

    def line(self, row: matrix.Row) -> str:
        (line,) = (
            line for line in matrix.table(self.place).splitlines() if line.startswith(row.registry) and row.peer in line
        )
        return line

    def keep(self, row: matrix.Row, **different: str) -> None:
        cells = {cell: "ok" for cell in matrix.CELLS if row.reason(cell) is None}
        matrix.keep(row, {**cells, **different})

    def test_what_went_well(self) -> None:
        """A row of which all went well says yes, or n/a with a reason, in each cell."""
        for row in ROWS:
            self.keep(row)
            line = self.line(row)
            self.assertNotIn("NO", line)
            self.assertEqual(line.count("yes") + line.count("n/a"), len(matrix.CELLS))

    def test_what_went_wrong(self) -> None:
        """A cell that went wrong says NO, and what happened is told below, on one line."""
        self.keep(ROWS[0], timeout="Mismatch: 200\ninstead of 504")
        self.assertEqual(self.line(ROWS[0]).count("NO ("), 1)
        self.assertIn("v1.18.0 mucp, timeout: Mismatch: 200 instead of 504", matrix.table(self.place))

    def test_what_was_not_run(self) -> None:
        """A row without results says that, in each cell that could have been tried."""
        self.assertEqual(self.line(ROWS[0]).count("NO ("), len(matrix.CELLS))
        self.assertIn("not run: ", matrix.table(self.place))

    def test_reasons(self) -> None:
        """Whatever cannot be is explained below the table."""
        text = matrix.table(self.place)
        for reason in (matrix.MEMORY, *matrix.IMPOSSIBLE.values()):
            self.assertIn(reason, text)

    def test_writing_into_a_document(self) -> None:
        """The table replaces the one before, and nothing else of the document."""
        document = Path(self.mktemp())
        document.write_text("before\n\n.. the table begins\n\n.. the table ends\n\nafter\n")
        matrix.write(document, "one\n")
        matrix.write(document, "two\n")
        self.assertEqual(document.read_text(), "before\n\n.. the table begins\n\ntwo\n\n.. the table ends\n\nafter\n")


class DocumentTests(SynchronousTestCase):
    def test_document(self) -> None:
        """docs/interop.rst holds a full table: every row, and no cell that went wrong or was not run."""
        reason = no_checkout()
        if reason is not None:
            raise SkipTest(reason)
        text = (checkout() / "docs" / "interop.rst").read_text("utf-8")
        for row in ROWS:
            self.assertRegex(text, rf"(?m)^{row.registry} +{row.peer} ")
        self.assertNotRegex(text, r"(?m)^\w+ +v\S+ \w+ .*\bNO\b")
