"""Runs the ``say`` programs: real go-micro services and clients of each generation (``interop/`` builds them)."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from attrs import define

from sidecar.test.doubles.programs.process import BIN, Program, find_program, start

#: The generations that are built, oldest first.
GENERATIONS = ("v1.18.0", "v2.9.1", "v3.7.1", "v4.11.0", "v5.3.0", "v5.30.0")

Event = dict[str, Any]


def missing(*generations: str) -> str | None:
    """Why a test with these generations cannot run here, for its ``skip``; None where all are built."""
    absent = [generation for generation in generations if find_program(f"say-{generation}") is None]
    return f"no go-micro {', '.join(absent)} here: run interop/build, or name its output in ${BIN}" if absent else None


def events(output: str) -> list[Event]:
    """The events among a program's output; the rest is go-micro's log."""
    return [json.loads(line) for line in output.splitlines() if line.startswith("{") and '"event"' in line]


@define(eq=False)
class Running:
    """A service or subscriber at work. :ivar ready: what it said of itself: ``name``, ``id``, ``address``."""

    program: Program
    ready: Event

    @property
    def messages(self) -> list[Event]:
        """The messages that it got so far."""
        return [event for event in events(self.program.output) if event["event"] == "message"]

    def heard(self, count: int, patience: float = 15.0) -> list[Event]:
        """The messages once there are ``count`` of them, or those that came within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while len(self.messages) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.messages

    def stop(self) -> None:
        self.program.stop()


def running(generation: str, command: str, *arguments: str, prefix: Sequence[str] = ()) -> Running:
    """Start ``say serve`` or ``say subscribe`` and wait until it is in service.

    :param prefix: what stands before the command, such as :attr:`Namespace.prefix`.
    :raises RuntimeError: it did not get there.
    """
    words = [*prefix, _path(generation), command, *arguments]
    program = start(words[0], words[1:], lambda program: bool(events(program.output)))
    return Running(program, events(program.output)[0])


def run(
    generation: str, command: str, *arguments: str, prefix: Sequence[str] = (), patience: float = 30.0
) -> list[Event]:
    """Run ``say call``, ``stream`` or ``publish`` to its end.

    :returns: its events.
    :raises RuntimeError: it had nothing to say but its log.
    """
    done = subprocess.run(
        [*prefix, _path(generation), command, *arguments], capture_output=True, timeout=patience, check=False
    )
    said = events(done.stdout.decode())
    if not said:
        raise RuntimeError(
            f"say {command} of go-micro {generation} ended with {done.returncode}: {done.stderr[-2000:]!r}"
        )
    return said


def _path(generation: str) -> str:
    path = find_program(f"say-{generation}")
    if path is None:
        raise RuntimeError(missing(generation))
    return path
