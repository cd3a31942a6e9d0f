"""Entries of the journal as JSON. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from sidecar.model import Action, Reason, Service
from sidecar.wire import services

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def entry(
    index: int, time: float, action: Action, reason: Reason, detail: str, by: str, service: Service
) -> dict[str, Any]:
    """One entry. :param time: seconds since the epoch. :param service: with just the nodes that changed."""
    return {
        "index": index,
        "at": date(time),
        "action": action,
        "reason": reason,
        "detail": detail,
        "by": by,
        "service": services.to_json(service),
    }


def date(time: float) -> str:
    """A time as RFC 3339 in UTC, to the millisecond. :source: RFC 3339 section 5.6"""
    return (_EPOCH + timedelta(milliseconds=round(time * 1000))).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def read_date(text: str) -> float:
    """Undo :func:`date`, for any RFC 3339 date. :returns: seconds since the epoch.

    :raises ValueError: it is none, in a sentence.
    """
    try:
        read = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
        if read.tzinfo is None:
            raise ValueError
        return (read - _EPOCH).total_seconds()
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no date; write one like 2026-11-25T03:00:00Z") from None
