"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "warning", "fault"]

_SIGNS: dict[Level, tuple[str, str]] = {"ok": ("ok", "32"), "warning": ("warn", "33"), "fault": ("FAULT", "31")}


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at.

    :ivar subject: what, in a word or two. :ivar told: how it is. :ivar fix: what to do about it, "" where all is well.
    :ivar command: a command line that does it or shows more, "" where there is none.
    """

    level: Level
    subject: str
    told: str
    fix: str = ""
    command: str = ""


def ok(subject: str, told: str) -> Diagnosis:
    """Something that is well."""
    return Diagnosis("ok", subject, told)


def warning(subject: str, told: str, fix: str, command: str = "") -> Diagnosis:
    """Something that works, and may not for long."""
    return Diagnosis("warning", subject, told, fix, command)


def fault(subject: str, told: str, fix: str, command: str = "") -> Diagnosis:
    """Something that does not work."""
    return Diagnosis("fault", subject, told, fix, command)


def report(diagnoses: Sequence[Diagnosis], colours: bool) -> str:
    """:returns: a line a finding, the fix and its command below those that need one, and a line that counts."""
    lines = []
    for each in diagnoses:
        sign, colour = _SIGNS[each.level]
        shown = f"\x1b[{colour}m{sign:5}\x1b[0m" if colours else f"{sign:5}"
        lines.append(f"{shown} {each.subject}: {each.told}")
        if each.fix:
            lines.append(f"      fix: {each.fix}")
        if each.command:
            lines.append(f"      try: {each.command}")
    faults = sum(each.level == "fault" for each in diagnoses)
    warnings = sum(each.level == "warning" for each in diagnoses)
    lines.append(f"{len(diagnoses)} looked at, {faults} at fault, {warnings} to keep an eye on")
    return "\n".join(lines)


def as_data(diagnoses: Sequence[Diagnosis]) -> list[dict[str, Any]]:
    """:returns: the same for programs."""
    return [asdict(each) for each in diagnoses]
