"""Calls and rates as people see them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.commands import live

CALL: dict[str, Any] = {
    "service": "a",
    "method": "B.C",
    "node": "a-1",
    "address": "h:1",
    "total_ms": 2.26,
    "outcome": "refused",
    "error": "",
    "skipped": 0,
}


class Tapped(SynchronousTestCase):
    def test_one_line(self) -> None:
        """Colours only where they are wanted."""
        self.assertEqual(live.call_lines(CALL, False), "a B.C  a-1 h:1  2.3 ms  refused")
        self.assertIn("\x1b[31mrefused", live.call_lines(CALL, True))

    def test_bodies(self) -> None:
        """Bodies have lines of their own, and what was not shown is told."""
        bodies = {"request": {"text": "{}", "truncated": False}, "reply": {"base64": "/wA=", "truncated": True}}
        self.assertEqual(
            live.call_lines({**CALL, **bodies, "skipped": 3}, False).splitlines(),
            [
                "(3 calls were not shown)",
                "a B.C  a-1 h:1  2.3 ms  refused",
                "  request: {}",
                "  reply: base64 /wA= ...",
            ],
        )

    def test_terminal(self) -> None:
        """Nothing of a service's making is obeyed by a terminal, or begins a line."""
        text = live.call_lines({**CALL, "service": "a\x1b[2J\nb", "error": "x\ny\x07"}, False)
        self.assertEqual(len(text.splitlines()), 1)
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\x07", text)


class Page(SynchronousTestCase):
    def test_page(self) -> None:
        """Services as they come, their nodes under them, the failing one with its reason and, in colours, red."""
        node = {"service": "b", "id": "b-1", "address": "h:1", "calls": 9, "why": "refused 2 s ago"}
        services = [{"name": "b", "calls": 9.5, "success": 0.5, "nodes_up": 0, "nodes_down": 1}, {"name": "a"}]
        text = live.page({"services": services, "nodes": [node], "rates": {"calls": 9.5}})
        lines = text.splitlines()
        self.assertIn("9.5 calls/s", lines[0])
        self.assertIn("50.0%", lines[3])
        self.assertEqual(lines[5], "    refused 2 s ago")
        self.assertTrue(lines[6].startswith("a "))
        self.assertNotIn("\x1b", text)
        painted = live.page({"services": services, "nodes": [node]}, True).splitlines()
        self.assertTrue(painted[4].startswith("\x1b[31m  b-1"))
        self.assertTrue(painted[5].startswith("\x1b[31m    refused"))
        self.assertFalse(painted[6].startswith("\x1b"))

    def test_fitting(self) -> None:
        """A line is cut to the terminal's width, and its colour still ends."""
        self.assertEqual(live.fitting("abcdef", 3), "abc")
        self.assertEqual(live.fitting("\x1b[31mabcdef\x1b[0m", 3), "\x1b[31mabc\x1b[0m")
