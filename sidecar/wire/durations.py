"""Durations as Go writes them: ``300ms``, ``1m30s``, ``1.5h``; and how long a caller gives its call by one."""

from __future__ import annotations

import re

from sidecar.errors import BadRequest

#: Seconds in each unit. Both spellings of micro are Go's.
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]*)(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h)")
#: Go counts nanoseconds in 64 bits, which is about 292 years.
_LONGEST = 9223372036.0
_MAX_TEXT = 64
_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18}")
_DAYS = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,9})?)d(.*)")
#: A timeout without a unit counts nanoseconds from here on; nobody gives a call eleven days.
NANOSECONDS_FROM = 1_000_000


def parse(text: str) -> float:
    """Read a Go duration.

    :param text: numbers with units (ns, us, ms, s, m, h) joined without spaces, or ``0``.
    :returns: seconds, never negative.
    :raises ValueError: with a sentence that says what is wrong.
    :source: Go ``time.ParseDuration``; negative ones are refused since nothing here can use one.
    """
    shown = text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."
    if not text:
        raise ValueError("a duration is missing; write one like 10s or 1m30s")
    if len(text) > _MAX_TEXT:
        raise ValueError(f"{shown!r} is too long for a duration; write one like 10s or 1m30s")
    unsigned = text[1:] if text[0] in "+-" else text
    if unsigned == "0":
        return 0.0
    seconds, position = 0.0, 0
    while position < len(unsigned):
        part = _PART.match(unsigned, position)
        if part is None or not (part[1] or len(part[2] or "") > 1):
            raise ValueError(_complaint(shown, unsigned[position:]))
        seconds += float((part[1] or "0") + (part[2] or "")) * _UNITS[part[3]]
        position = part.end()
    if not position:
        raise ValueError(_complaint(shown, ""))
    if text[0] == "-" and seconds > 0:
        raise ValueError(f"{shown!r} is negative; write a duration like 10s or 1m30s")
    if seconds > _LONGEST:
        raise ValueError(f"{shown!r} is longer than 292 years")
    return seconds


def with_days(text: str) -> float:
    """Read a duration that may begin with days, which Go's own have not: ``7d``, ``1d12h``.

    :returns: seconds, never negative. :raises ValueError: with a sentence that says what is wrong."""
    days = _DAYS.fullmatch(text)
    if days is None:
        return parse(text)
    return float(days[1]) * 86400.0 + (parse(days[2]) if days[2] else 0.0)


def timeout(text: str) -> float:
    """Read a caller's timeout: a Go duration, or a number without a unit.

    :param text: such a number counts seconds, and from :data:`NANOSECONDS_FROM` up nanoseconds: that is what go-micro's
        own ``Timeout`` header holds, and what an app hands on that copies its caller's headers.
    :returns: seconds, never negative.
    :raises ValueError: with a sentence that says what is wrong.
    """
    if not _NUMBER.fullmatch(text):
        return parse(text)
    number = float(text)
    return number / 1e9 if number >= NANOSECONDS_FROM else number


def _complaint(shown: str, rest: str) -> str:
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", rest):
        return f"{shown!r} has no unit after {rest!r}; units are ns, us, ms, s, m and h, as in 10s"
    return f"{shown!r} is not a duration; write one like 10s, 300ms or 1m30s (units: ns, us, ms, s, m, h)"


def format(seconds: float) -> str:
    """Write seconds as Go does.

    :param seconds: any finite number.
    :returns: ``1m0s``, ``1.5s``, ``300ms``, ``0s``.
    :source: Go ``time.Duration.String``.
    """
    nanos = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and nanos else ""
    if nanos == 0:
        return "0s"
    if nanos < 1_000_000_000:
        unit, size = ("ns", 1) if nanos < 1000 else ("µs", 1000) if nanos < 1_000_000 else ("ms", 1_000_000)
        return f"{sign}{_decimal(nanos, size)}{unit}"
    minutes, rest = divmod(nanos, 60_000_000_000)
    text = f"{_decimal(rest, 1_000_000_000)}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
    return sign + text


def _decimal(count: int, size: int) -> str:
    whole, part = divmod(count, size)
    if not part:
        return str(whole)
    digits = str(part).rjust(len(str(size)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"


def shortest(field: str | bytes | None, header: bytes | None) -> float | None:
    """Seconds that a caller gives its call; the shorter one where both the field and the header give some.

    :raises BadRequest: naming which of the two is wrong.
    """
    shortest: float | None = None
    texts = [] if field is None else [("timeout", field if isinstance(field, str) else field.decode("utf-8"))]
    if header is not None:
        texts.append(("Timeout header", header.decode("latin-1")))
    for where, text in texts:
        seconds = _seconds(where, text.strip())
        if shortest is None or seconds < shortest:
            shortest = seconds
    return shortest


def _seconds(where: str, text: str) -> float:
    try:
        seconds = timeout(text)
    except ValueError as error:
        raise BadRequest(f"invalid {where}: {error}") from None
    if not seconds > 0:
        raise BadRequest(f"invalid {where}: {text[:64]!r} leaves no time; write one like 300ms or 5s")
    return seconds
