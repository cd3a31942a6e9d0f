"""Reads Linux's ``/proc``: which processes a program has become, and at which ports they listen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

#: How the kernel writes that a TCP socket listens (include/net/tcp_states.h).
_LISTENS = "0A"


@dataclass(frozen=True, order=True)
class ListeningSocket:
    """A port at which somebody listens. In order of when the sockets were made.

    :ivar inode: the socket's number. :ivar host: an IP literal.
    """

    inode: int
    host: str
    port: int


@dataclass(frozen=True)
class Process:
    """A process, and no later one of the same number. :ivar started: ticks from the machine's start to its own."""

    pid: int
    started: int


@dataclass(frozen=True)
class _Stat:
    process: Process
    parent: int
    session: int


def tree(root: int, proc: Path = Path("/proc")) -> set[Process]:
    """:param root: the process that was started, the leader of its session.
    :returns: it, what it started, and whatever else is in its session; those that ended are not there."""
    known = list(_stats(proc))
    found = {stat.process for stat in known if stat.process.pid == root or stat.session == root}
    while True:
        pids = {process.pid for process in found}
        more = {stat.process for stat in known if stat.parent in pids} - found
        if not more:
            return found
        found |= more


def alive(processes: Iterable[Process], proc: Path = Path("/proc")) -> set[Process]:
    """:returns: those that have not ended."""
    return {each for each in processes if (stat := _stat(each.pid, proc)) is not None and stat.process == each}


def listening(pids: Iterable[int], proc: Path = Path("/proc")) -> list[ListeningSocket]:
    """:returns: the ports at which these processes listen, the oldest socket first."""
    found: set[ListeningSocket] = set()
    for pid in pids:
        inodes = _sockets(proc / str(pid) / "fd")
        if inodes:
            # By its own eyes: it may be in another network.
            found |= {each for each in _listening(proc / str(pid) / "net") if each.inode in inodes}
    return sorted(found)


def available(proc: Path = Path("/proc")) -> bool:
    """Whether there is a ``/proc`` to read: on Linux alone."""
    return (proc / "self" / "net" / "tcp").exists()


def _stats(proc: Path) -> Iterator[_Stat]:
    for name in os.listdir(proc):
        if name.isdigit():
            stat = _stat(int(name), proc)
            if stat is not None:
                yield stat


def _stat(pid: int, proc: Path) -> _Stat | None:
    """:returns: what is known of a process, None where it has ended."""
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")
        # After the name, which may hold anything: state, parent, group, session; the start is the 20th (proc(5)).
        fields = text.rpartition(")")[2].split()
        if fields[0] in "ZX":
            return None
        return _Stat(Process(pid, int(fields[19])), int(fields[1]), int(fields[3]))
    except (OSError, ValueError, IndexError):
        return None


def _sockets(directory: Path) -> set[int]:
    found = set()
    with suppress(OSError):
        for name in os.listdir(directory):
            with suppress(OSError, ValueError):
                target = os.readlink(directory / name)
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found


def _listening(directory: Path) -> Iterator[ListeningSocket]:
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (directory / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS:
                    host, _, port = fields[1].partition(":")
                    yield ListeningSocket(int(fields[9]), address(host), int(port, 16))


def address(text: str) -> str:
    """:param text: an address as the kernel writes it: words of four bytes, each in the machine's order, in hex.
    :returns: an IP literal; IPv4 in IPv6 is IPv4."""
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    if len(raw) == 4:
        return str(IPv4Address(raw))
    found = IPv6Address(raw)
    return str(found.ipv4_mapped or found)
