"""Looks names up in threads of its own: equal look-ups are joined, answers are kept, and a name service that is silent
holds up nobody but those who call by that name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

#: Seconds for which an answer is given again without a question.
FRESH: Final = 5.0
#: Seconds for which an answer is given where nobody can be asked any more, or says that there is no such name.
KEPT: Final = 300.0
#: Seconds after which a look-up counts as slow: who waits for it gets the last answer, where there is one.
SLOW: Final = 1.0
#: Seconds for which a failed look-up is not repeated.
REFUSED: Final = 0.5
#: Look-ups at a time, and how many of them may be of names that are slow, or have never been found.
AT_ONCE, UNPROVEN = 64, 48
#: Names that are remembered.
NAMES: Final = 4096

#: Family and address.
Found = tuple[int, str]


@implementer(IHostResolution)
@define(eq=False)
class _Asker:
    """One who waits for the addresses of a name."""

    name: str
    receiver: IResolutionReceiver | None
    port: int
    types: Sequence[type] | None

    def cancel(self) -> None:
        self.receiver = None

    def tell(self, found: Sequence[Found]) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver is None:
            return
        for family, host in found:
            kind = IPv6Address if family == socket.AF_INET6 else IPv4Address
            if self.types is None or kind in self.types:
                receiver.addressResolved(kind("TCP", host, self.port))
        receiver.resolutionComplete()


@define(eq=False)
class _Name:
    """What is known of one name.

    :ivar asked: since when it is being looked up, None while it is not.
    :ivar slow: the timer that tells when that takes long. :ivar is_slow: that it has.
    """

    found: tuple[Found, ...] = ()
    answered: float = float("-inf")
    failed: float = float("-inf")
    asked: float | None = None
    is_slow: bool = False
    slow: IDelayedCall | None = None
    waiting: list[_Asker] = field(factory=list)


def in_thread(work: Callable[[], None]) -> None:
    """Run ``work`` in a thread that the end of the process does not wait for: a look-up may take a minute."""
    threading.Thread(target=work, name="resolver", daemon=True).start()


@implementer(IHostnameResolver)
@define(eq=False)
class CachingResolver:
    """A reactor's name resolver, over the machine's own (``getaddrinfo``)."""

    _reactor: Any
    _getaddrinfo: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo
    _run: Callable[[Callable[[], None]], None] = in_thread
    _names: dict[str, _Name] = field(factory=dict, init=False)
    _busy: int = field(default=0, init=False)
    _unproven: int = field(default=0, init=False)

    def install(self) -> None:
        """Have the reactor, and everything on it, look names up here."""
        self._reactor.installNameResolver(self)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Both families, in the order of the machine's own preference; no address where the name is not known."""
        asker = _Asker(hostName, resolutionReceiver, portNumber, addressTypes)
        resolutionReceiver.resolutionBegan(asker)
        name = self._name(hostName.lower())
        now = self._reactor.seconds()
        if now - name.answered < FRESH:
            asker.tell(name.found)
        elif now - name.failed < REFUSED:
            asker.tell(self._last(name, now))
        elif name.asked is not None:
            if name.is_slow and name.found:
                asker.tell(self._last(name, now))
            else:
                name.waiting.append(asker)
        elif self._busy >= AT_ONCE or (not name.found and self._unproven >= UNPROVEN):
            asker.tell(self._last(name, now))
        else:
            name.waiting.append(asker)
            self._ask(hostName.lower(), name, now)
        return asker

    def connected(self, host: str, address: str) -> None:
        """A connection to this address of the name was made: it comes first from now on, before those that may be
        dead."""
        name = self._names.get(host.lower())
        if name is not None and name.found and name.found[0][1] != address:
            name.found = _first(name.found, address)

    # --- Within -----------------------------------------------------------------------------------------------------

    def _name(self, host: str) -> _Name:
        name = self._names.get(host)
        if name is None:
            if len(self._names) >= NAMES:
                idle = (other for other, known in self._names.items() if known.asked is None)
                self._names.pop(next(idle, ""), None)
            name = self._names[host] = _Name()
        return name

    @staticmethod
    def _last(name: _Name, now: float) -> tuple[Found, ...]:
        return name.found if now - name.answered < KEPT else ()

    def _ask(self, host: str, name: _Name, now: float) -> None:
        name.asked, name.is_slow = now, False
        # One that was found before is not expected to be slow; where it is, it counts as such from then on.
        unproven = not name.found
        self._busy += 1
        self._unproven += unproven

        def slow() -> None:
            nonlocal unproven
            name.slow, name.is_slow = None, True
            self._unproven += not unproven
            unproven = True
            if name.found:
                self._tell(name, self._last(name, self._reactor.seconds()))

        def answered(found: tuple[Found, ...]) -> None:
            if name.slow is not None:
                name.slow.cancel()
                name.slow = None
            self._busy -= 1
            self._unproven -= unproven
            name.asked, name.is_slow = None, False
            self._answered(name, found)

        def look_up() -> None:
            found = look_up_now(host, self._getaddrinfo)
            self._reactor.callFromThread(answered, found)

        name.slow = self._reactor.callLater(SLOW, slow)
        try:
            self._run(look_up)
        except RuntimeError:  # no thread can be started
            answered(())

    def _answered(self, name: _Name, found: tuple[Found, ...]) -> None:
        now = self._reactor.seconds()
        if found:
            if name.found and name.found[0] in found:
                found = _first(found, name.found[0][1])  # the one that was connected to last
            name.found, name.answered, name.failed = found, now, float("-inf")
        else:
            name.failed = now
        self._tell(name, self._last(name, now))

    @staticmethod
    def _tell(name: _Name, found: tuple[Found, ...]) -> None:
        waiting, name.waiting = name.waiting, []
        for asker in waiting:
            asker.tell(found)


def look_up_now(host: str, getaddrinfo: Callable[..., Sequence[tuple[Any, ...]]]) -> tuple[Found, ...]:
    """Ask, blocking. :returns: each address once; nothing where there is none, whatever the reason."""
    try:
        answers = getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    found = [(int(family), str(where[0])) for family, _, _, _, where in answers]
    return tuple(dict.fromkeys(each for each in found if each[0] in (socket.AF_INET, socket.AF_INET6)))


def _first(found: tuple[Found, ...], address: str) -> tuple[Found, ...]:
    """``found``, with one address before the others."""
    return tuple(sorted(found, key=lambda each: each[1] != address))
