"""Entries of the journal as JSON. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

from sidecar.model import Action, Reason, Service
from sidecar.wire import services

_DATE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,12})?(?:[Zz]|([+\- ])([0-9]{2}:[0-9]{2}))"
)
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

    The + of an offset may be a space, as it is in a query where nobody escaped it.

    :raises ValueError: it is none, in a sentence. :source: RFC 3339 section 5.6
    """
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        day, time, fraction, sign, offset = found.groups()
        zone = "+00:00" if offset is None else f"{'-' if sign == '-' else '+'}{offset}"
        leap = time.endswith(":60")  # which time stamps do not count
        read = datetime.fromisoformat(f"{day}T{time[:-2] + '59' if leap else time}{zone}")
        return (read - _EPOCH).total_seconds() + leap + float(fraction or 0)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no date; write one like 2026-11-25T03:00:00Z") from None
