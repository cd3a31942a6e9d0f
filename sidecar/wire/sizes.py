"""Sizes in bytes as people write them: ``65536``, ``64KiB``, ``4MiB``."""

from __future__ import annotations

import re

_UNITS = {
    "": 1,
    "b": 1,
    "k": 1024,
    "kib": 1024,
    "m": 1024**2,
    "mib": 1024**2,
    "g": 1024**3,
    "gib": 1024**3,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]*)")


def parse(text: str) -> int:
    """Read a size.

    :param text: a number with an optional unit: KiB, MiB, GiB (or K, M, G) are powers of 1024; kB, MB, GB of 1000.
    :returns: bytes.
    :raises ValueError: with a sentence that says what is wrong.
    """
    shown = text if len(text) <= 40 else text[:40] + "..."
    found = _SIZE.fullmatch(text.strip())
    if found is None or found[2].lower() not in _UNITS:
        raise ValueError(f"{shown!r} is not a size; write bytes as 65536, 64KiB or 4MiB")
    size = float(found[1]) * _UNITS[found[2].lower()]
    if size != int(size):
        raise ValueError(f"{shown!r} is not a whole number of bytes")
    return int(size)


def format(size: int) -> str:
    """Write ``size`` bytes in the largest unit that divides it: ``4MiB``, ``64KiB``, ``1000``."""
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
