"""The forms of a log line: text for a terminal, JSON for collectors, and journald's own."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from twisted.logger import LogEvent, LogLevel, eventAsText, formatEvent

#: Bytes of the longest message in a line; the rest of it is left out, which the line says.
MAX_MESSAGE = 16 * 1024
#: syslog's priorities, which journald reads from ``<N>`` before a line (sd-daemon(3)).
_PRIORITIES: Final = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}
#: What would move a terminal's cursor or begin a line of its own, each with what is shown in its place.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if code not in (9, 10)}
_NEWLINE: Final = {10: "\\n"}

Format = Callable[[LogEvent], str]


def text(event: LogEvent) -> str:
    """``2026-11-25T03:00:00.123+0000 [sidecar.rpc.client#warn] message``; a failure's traceback follows in lines."""
    level = event.get("log_level") or LogLevel.info
    head = f"{_moment(event).strftime('%Y-%m-%dT%H:%M:%S')}+0000 [{event.get('log_namespace', '-')}#{level.name}]"
    return f"{head} {_message(event)}{_trace(event)}\n"


def journald(event: LogEvent) -> str:
    """A line for journald: its priority and the message; the journal keeps the time itself."""
    level = event.get("log_level") or LogLevel.info
    lines = f"{event.get('log_namespace', '-')}: {_message(event)}{_trace(event)}".split("\n")
    return "".join(f"<{_PRIORITIES.get(level, 6)}>{line}\n" for line in lines)


def json_line(event: LogEvent) -> str:
    """One JSON object: ``time``, ``level``, ``logger``, ``message``, then the fields that the message was made from."""
    level = event.get("log_level") or LogLevel.info
    line: dict[str, Any] = {
        "time": _moment(event).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level.name,
        "logger": event.get("log_namespace", "-"),
        "message": _clean(formatEvent(event), {}),
    }
    trace = _trace(event)
    if trace:
        line["traceback"] = trace.strip("\n")
    for name, value in event.items():
        if name.startswith("log_") or name in ("isError", "time", "system", "format", "message", "failure"):
            continue
        if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
            line[f"field_{name}" if name in line else name] = value
        else:
            line[f"field_{name}" if name in line else name] = _clean(str(value), {})
    return json.dumps(line, ensure_ascii=False) + "\n"


FORMATS: Final[Mapping[str, Format]] = {"text": text, "json": json_line, "journald": journald}


def choose(wanted: str, stream: Any, environ: Mapping[str, str]) -> Format:
    """:param wanted: as ``--log_format`` says it. :param stream: where the lines go.
    :returns: for ``auto``: text on a terminal, journald's where the stream is the journal's, else JSON."""
    if wanted != "auto":
        return FORMATS[wanted]
    if stream.isatty():
        return text
    return journald if _is_journal(stream, environ) else json_line


def _is_journal(stream: Any, environ: Mapping[str, str]) -> bool:
    """Whether ``stream`` is the one that systemd connected to the journal.

    :source: systemd.exec(5), ``$JOURNAL_STREAM``."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}" and stat.S_ISSOCK(found.st_mode)


def _moment(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time") or 0.0, timezone.utc)


def _message(event: LogEvent) -> str:
    return _clean(formatEvent(event), _NEWLINE)


def _trace(event: LogEvent) -> str:
    if event.get("log_failure") is None:
        return ""
    whole = eventAsText(event, includeTimestamp=False, includeSystem=False)
    trace = whole.removeprefix(formatEvent(event))
    return _clean(trace.rstrip("\n"), {})


def _clean(message: str, more: Mapping[int, str]) -> str:
    """No control characters: a name from elsewhere shall not write lines of its own, or move a terminal's cursor."""
    shown = message.translate({**_CONTROLS, **more}).encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= MAX_MESSAGE else f"{shown[:MAX_MESSAGE]}... ({len(shown)} characters in all)"
