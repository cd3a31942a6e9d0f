"""What is kept in memory for peers, of all of them together: one budget, and who has to go when it is spent.

Each buffer has a bound of its own; many small ones together would still take whatever the machine has. So whoever
keeps bytes that a peer has not finished sending, or does not take, says how many. Pure but for its log line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Protocol

from attrs import define, field
from twisted.logger import Logger

#: What is kept: requests that have not come whole or wait for their turn or their answer, replies of nodes that have
#: not come whole, answers that nobody takes, messages of WebSockets that have not come whole, messages that a
#: subscriber does not take, events that a watcher does not take.
Kind = Literal["requests", "replies", "answers", "frames", "messages", "events"]

#: Once the budget is spent, this share of it is made free at once: who looks for the largest looks at all.
MADE_FREE: Final = 0.1

#: Bytes that are worth an entry in the budget; fewer are not counted.
WORTH_COUNTING: Final = 1024

#: How often the body of a request is there while it is being answered: as it came, as a call, as it goes out.
COPIES: Final = 3

#: The default: a share of what there is, within bounds.
SHARE, LEAST, MOST = 8, 64 * 1024 * 1024, 512 * 1024 * 1024


class BufferOwner(Protocol):
    """Somebody who keeps bytes for a peer."""

    def __hash__(self) -> int: ...

    def shed(self) -> None:
        """Give up what is kept, telling the peer why where it can hear it. Called once, when the budget is spent; the
        budget has forgotten it then."""


@define(slots=True)
class _Share:
    size: int
    since: float
    kind: Kind


@define(eq=False)
class MemoryBudget:
    """Counts what is kept, and has the largest and oldest given up when it is too much.

    :ivar limit: bytes of all together. :ivar given_up: called after something was, None for nobody.
    :ivar total: bytes now. :ivar shed: how often something was given up, by what it was.
    """

    log = Logger()

    limit: int
    _seconds: Callable[[], float]
    given_up: Callable[[], object] | None = None
    total: int = field(default=0, init=False)
    shed: dict[Kind, int] = field(factory=dict, init=False)
    _shares: dict[BufferOwner, _Share] = field(factory=dict, init=False)
    #: Those that are being given up, and were not told yet: what one gives up may end another.
    _leaving: dict[BufferOwner, None] = field(factory=dict, init=False)

    def changed(self, owner: BufferOwner, size: int, kind: Kind) -> bool:
        """Note what ``owner`` keeps now.

        Where that is too much in all, those go whose bytes times seconds are most, until the rest fits again. The
        seconds begin anew when it becomes less: that peer takes what it gets.

        :param size: bytes, 0 for none.
        :returns: False where ``owner`` itself has to go: it is forgotten, and not told otherwise.
        """
        share = self._shares.get(owner)
        if share is not None:
            self.total += size - share.size
            if size:
                if size < share.size:
                    share.since = self._seconds()
                share.size = size
            else:
                del self._shares[owner]
        elif size:
            self.total += size
            self._shares[owner] = _Share(size, self._seconds(), kind)
        elif self._leaving:
            self._leaving.pop(owner, None)
        return self.total <= self.limit or self._shed_largest(owner)

    def stats(self) -> dict[str, object]:
        """What /stats and /metrics show."""
        return {"limit": self.limit, "buffered": self.total, "shed": dict(self.shed)}

    @property
    def spent(self) -> str:
        """What was reached and what to do, for whoever is given up."""
        return (
            f"what is kept for all clients takes {self.limit} bytes, which is the limit (--max_memory): try again later"
        )

    def _shed_largest(self, asking: BufferOwner) -> bool:
        now, target = self._seconds(), self.limit * (1 - MADE_FREE)
        by_weight = sorted(
            self._shares.items(), key=lambda item: item[1].size * (now - item[1].since + 1.0), reverse=True
        )
        going = []
        for owner, share in by_weight:
            if self.total <= target:
                break
            del self._shares[owner]
            self.total -= share.size
            self.shed[share.kind] = self.shed.get(share.kind, 0) + 1
            going.append(owner)
        self.log.warn(
            "What is kept for clients reached {limit} bytes (--max_memory): {count} of them are given up, the largest"
            " and oldest first",
            limit=self.limit,
            count=len(going),
        )
        self._leaving.update(dict.fromkeys(owner for owner in going if owner is not asking))
        for owner in going:
            if owner in self._leaving:
                del self._leaving[owner]
                owner.shed()
        if self.given_up is not None:
            self.given_up()
        return asking not in going


def copies(size: int, limit: int) -> int:
    """What a body of ``size`` bytes takes while it is being answered. :param limit: of all together: it alone is never
    more than fits."""
    return max(size, min(COPIES * size, limit // 4))


def usual_limit(root: str = "/") -> int:
    """The limit where none was given: an eighth of the memory that this process may have, 64 MiB at least and 512 at
    most. :param root: of the file system, for tests."""
    there = [amount for amount in (_machine(root), _cgroup(root)) if amount]
    return max(LEAST, min(MOST, min(there, default=MOST * SHARE) // SHARE))


def _machine(root: str) -> int:
    for line in _text(root, "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _cgroup(root: str) -> int:
    """The least limit of the cgroups that we are in, v2 or v1, 0 for none."""
    found = []
    for line in _text(root, "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # A limit of any group above counts too. In a container our own path may not be there: its root is.
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts) + 1):
            text = _text(root, "/".join((base, *parts[:depth], name))).strip()
            if text.isdecimal():
                found.append(int(text))
    return min((amount for amount in found if amount < 1 << 60), default=0)


def _text(root: str, path: str) -> str:
    try:
        return Path(root, path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
