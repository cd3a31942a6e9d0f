"""The frames of one reactor turn, joined once for everybody who gets them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

#: Bytes that one write should not exceed: what a transport was given cannot be dropped any more.
WRITE = 128 * 1024


@frozen
class Batch:
    """Consecutive frames. :ivar joined: their bytes, ready to be written."""

    frames: tuple[bytes, ...]
    joined: bytes


def batched(frames: Iterable[bytes], most: int = WRITE) -> list[Batch]:
    """Join ``frames``, in order, into batches of at most ``most`` bytes (a larger frame is a batch of its own)."""
    batches: list[Batch] = []
    gathered: list[bytes] = []
    size = 0
    for frame in frames:
        if size + len(frame) > most and gathered:
            batches.append(_batch(gathered))
            gathered, size = [], 0
        gathered.append(frame)
        size += len(frame)
    if gathered:
        batches.append(_batch(gathered))
    return batches


def _batch(frames: list[bytes]) -> Batch:
    return Batch(tuple(frames), frames[0] if len(frames) == 1 else b"".join(frames))
