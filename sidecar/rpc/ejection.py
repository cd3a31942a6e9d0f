"""Which addresses get no calls for a while, since calls to them went wrong. Pure: time and chance are handed in.

An address is ejected by one refusal (nobody listens there, or nobody answers at all), by several failures in a row
(broken or timed out), or by a success rate that is less than half of what the other addresses of its service have.
Errors of the service itself count as answers. Each ejection in a row takes twice as long as the one before. Then one
call is sent there; if that is answered the address returns, and gets its share of the calls little by little.

Ejection only ever changes the order: where no other address is left, or so few that the fault is likely elsewhere (the
panic threshold), ejected ones are called as before.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

from attrs import define, field, frozen

from sidecar.model import Outcome

#: What an address is known by.
Address = tuple[str, int]

#: Seconds over which success rates are compared, answers that an address needs for that, and what is far below.
_WINDOW: Final = 10.0
_ENOUGH: Final = 20
_FAR_BELOW: Final = 0.5
#: Addresses of which something is kept.
_MOST: Final = 65_536
#: Seconds after which a probe of which nothing was heard is taken to be lost.
_LOST: Final = 30.0
#: Seconds after its time at which an address that nobody called since is forgotten: its service is gone.
_FORGOTTEN: Final = 60.0
#: Longest doubling of a penalty.
_MOST_DOUBLINGS: Final = 10


@frozen
class EjectionLimits:
    """When addresses are ejected, and for how long.

    :ivar failures: calls in a row that break or time out until an address is ejected; 0 for never.
    :ivar time: seconds of the first ejection. :ivar longest: seconds at most, however often it is ejected.
    :ivar slow_start: seconds over which a returned address comes back to its full share.
    :ivar panic: share of a service's addresses below which ejections for failures are not heeded; refusals are.
    """

    failures: int = 3
    time: float = 3.0
    longest: float = 60.0
    slow_start: float = 10.0
    panic: float = 0.3


#: What holds where nothing else is said.
USUAL: Final = EjectionLimits()


@frozen
class Ejected:
    """An address that gets no calls. :ivar seconds: that are left. :ivar why: in words."""

    address: str
    seconds: float
    why: str


@define(eq=False)
class _Record:
    """What is known of one address.

    :ivar streak: failures since the last answer. :ivar times: ejections since it last returned to its full share.
    :ivar until: when it may be tried again, None while it is in. :ivar refused: nobody took the last call.
    :ivar probing: since when the one call is under way that decides.
    :ivar returned: since when it is back, None at full share.
    """

    good: int = 0
    bad: int = 0
    streak: int = 0
    times: int = 0
    until: float | None = None
    refused: bool = False
    probing: float | None = None
    returned: float | None = None
    why: str = ""


@define(eq=False)
class Ejection:
    """Remembers how calls to each address ended.

    :ivar noted: the addresses that are ejected or on their way back: nothing needs a look while it is empty.
    :ivar generation: changes when an address is ejected or returns. :ivar ejections: since the start.
    """

    _limits: EjectionLimits
    _random: Random
    noted: dict[Address, _Record] = field(factory=dict, init=False)
    generation: int = field(default=0, init=False)
    ejections: int = field(default=0, init=False)
    _records: dict[Address, _Record] = field(factory=dict, init=False)
    _window: float = field(default=0.0, init=False)
    _tidied: float = field(default=0.0, init=False)

    def answered(self, address: Address) -> bool:
        """A call was answered, well or with an error of the service's own.

        :returns: whether it is enough to know that; else :meth:`returned` has to be told.
        """
        record = self._records.get(address)
        if record is None:
            self._forget_oldest()
            self._records[address] = _Record(good=1)
            return True
        record.good += 1
        record.streak = 0
        return record.until is None

    def returned(self, address: Address, now: float) -> None:
        """An ejected address answered: it is back, and gets its share little by little."""
        record = self._records[address]
        if record.until is not None:
            record.until, record.probing, record.refused = None, None, False
            record.returned = now
            self.generation += 1

    def failed(self, address: Address, outcome: Outcome, now: float, peers: Iterable[Address] = ()) -> None:
        """A call went wrong: refused, broken or timed out. What was cancelled only ends a probe.

        :param peers: the addresses of the same service, by which a success rate is judged.
        """
        record = self._records.get(address)
        if record is None:
            self._forget_oldest()
            record = self._records[address] = _Record()
        if outcome is Outcome.CANCELLED:
            record.probing = None
            return
        if now - self._window > _WINDOW:
            self._window = now
            for each in self._records.values():
                each.good = each.bad = 0
        record.bad += 1
        record.streak += 1
        record.refused = outcome is Outcome.REFUSED
        if record.until is not None:
            # A call that was under way before, or was sent in need, makes no penalty longer; the probe does.
            if record.probing is not None or now >= record.until:
                self._eject(address, record, now, f"{outcome.value} again")
        elif record.refused:
            self._eject(address, record, now, "refused")
        elif self._limits.failures and record.streak >= self._limits.failures:
            self._eject(address, record, now, f"{record.streak} failures in a row, the last one {outcome.value}")
        elif self._limits.failures and self._is_far_below(address, record, peers):
            self._eject(address, record, now, "answers far less often than the others")

    def is_out(self, address: Address) -> bool:
        """Whether it is ejected, its probe included."""
        record = self.noted.get(address)
        return record is not None and record.until is not None

    def was_refused(self, address: Address) -> bool:
        """Whether it is ejected since nobody took the last call."""
        record = self.noted.get(address)
        return record is not None and record.until is not None and record.refused

    def probe_due(self, address: Address, now: float) -> bool:
        """Whether the next call should go there, to see whether it is back. Saying so once claims it."""
        record = self.noted.get(address)
        if record is None or record.until is None or now < record.until:
            return False
        if record.probing is not None and now - record.probing < _LOST:
            return False
        record.probing = now
        return True

    def declines(self, address: Address, now: float) -> bool:
        """Whether an address that came back lately leaves this call to others."""
        record = self.noted.get(address)
        if record is None or record.returned is None:
            return False
        share = (now - record.returned) / self._limits.slow_start if self._limits.slow_start else 1.0
        if share >= 1.0:
            record.returned, record.times = None, 0
            if record.until is None:
                del self.noted[address]
                self.generation += 1
            return False
        return self._random.random() >= max(share, 0.1)

    def heeded(self, addresses: Iterable[Address]) -> frozenset[Address]:
        """Which of a service's addresses get no calls now: those ejected, less what the panic threshold forgives."""
        all_of_them = set(addresses)
        out = {address for address in all_of_them if self.is_out(address)}
        if len(all_of_them) - len(out) < self._limits.panic * len(all_of_them):
            out = {address for address in out if self.was_refused(address)}
        return frozenset(out if len(out) < len(all_of_them) else ())

    def tidy(self, now: float) -> None:
        """Let go of addresses that nobody calls any more, and of those that had time to come back; once a second."""
        if now - self._tidied < 1.0:
            return
        self._tidied = now
        for address, record in list(self.noted.items()):
            if record.until is not None and now - record.until > _FORGOTTEN:
                record.until, record.probing = None, None
            elif record.until is not None or now - (record.returned or 0.0) < self._limits.slow_start:
                continue
            record.returned, record.times = None, 0
            del self.noted[address]
            self.generation += 1

    def ejected(self, now: float) -> tuple[Ejected, ...]:
        """Those that are ejected, for people to read."""
        return tuple(
            Ejected(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", max(0.0, record.until - now), record.why)
            for (host, port), record in sorted(self.noted.items())
            if record.until is not None
        )

    # --- Within -----------------------------------------------------------------------------------------------------

    def _eject(self, address: Address, record: _Record, now: float, why: str) -> None:
        limits = self._limits
        seconds = min(limits.time * 2 ** min(record.times, _MOST_DOUBLINGS), limits.longest)
        # Sidecars that ejected it together do not come back together.
        record.until = now + seconds * self._random.uniform(0.8, 1.0)
        record.times += 1
        record.probing, record.returned, record.why = None, None, why
        self.noted[address] = record
        self.generation += 1
        self.ejections += 1

    def _is_far_below(self, address: Address, record: _Record, peers: Iterable[Address]) -> bool:
        if record.good + record.bad < _ENOUGH:
            return False
        good = total = 0
        for peer in peers:
            other = self._records.get(peer)
            if other is not None and peer != address:
                good += other.good
                total += other.good + other.bad
        if total < _ENOUGH:
            return False
        return record.good / (record.good + record.bad) < _FAR_BELOW * good / total

    def _forget_oldest(self) -> None:
        if len(self._records) >= _MOST:
            for address in [address for address in self._records if address not in self.noted][: _MOST // 2]:
                del self._records[address]
