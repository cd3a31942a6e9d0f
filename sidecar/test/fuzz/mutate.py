"""Bytes made of others, the same each time for a seed: where atheris is not installed, and beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

_INTERESTING = (
    b"\x00",
    b"\xff",
    b"\r\n",
    b'"',
    b"\\",
    b"{",
    b"]",
    b"%",
    b"-1",
    b"18446744073709551616",
    b"\xc2\xb9",
    b"null",
)


def mutated(seeds: Sequence[bytes], seed: int, count: int) -> Iterator[bytes]:
    """:param seed: of chance. :param count: how many. :returns: the seeds themselves, and what comes of them."""
    chance = Random(seed)
    pool = list(seeds)
    yield from pool
    for _ in range(count):
        data = bytearray(chance.choice(pool))
        for _ in range(chance.randint(1, 4)):
            _change(chance, data, pool)
        made = bytes(data[:4096])
        if chance.random() < 0.1 and len(pool) < 200:
            pool.append(made)
        yield made


def _change(chance: Random, data: bytearray, pool: Sequence[bytes]) -> None:
    at = chance.randint(0, len(data))
    deed = chance.randrange(6)
    if deed == 0 and data:
        data[at - 1] ^= 1 << chance.randrange(8)
    elif deed == 1:
        data[at:at] = chance.choice(_INTERESTING)
    elif deed == 2:
        del data[at : at + chance.randint(1, 8)]
    elif deed == 3:
        data[at:at] = data[at : at + chance.randint(1, 64)] * chance.randint(1, 8)
    elif deed == 4:
        other = chance.choice(pool)
        data[at:] = other[chance.randint(0, len(other)) :]
    else:
        data[at : at + 1] = bytes((chance.randrange(256),))
