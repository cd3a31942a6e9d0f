"""How long a caller gives its call: by a field of the call, by the ``Timeout`` header, or by both."""

from __future__ import annotations

from sidecar.errors import BadRequest
from sidecar.wire import durations


def shortest(field: str | bytes | None, header: bytes | None) -> float | None:
    """Seconds that a caller gives its call; the shorter one where both the field and the header give some."""
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
        seconds = durations.timeout(text)
    except ValueError as error:
        raise BadRequest(f"invalid {where}: {error}") from None
    if not seconds > 0:
        raise BadRequest(f"invalid {where}: {text[:64]!r} leaves no time; write one like 300ms or 5s")
    return seconds
