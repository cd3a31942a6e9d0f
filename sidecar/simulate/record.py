"""What was seen in a simulation, and the promises that it has to keep."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

#: Seconds beyond its deadline in which an answer has to be here: the deadline is looked at a few times a second.
_SLACK = 1.0
#: Seconds after the end of a lease for which its owner may still be there, beside half of its TTL.
_LATE = 3.0


@define
class CallRecord:
    """A call. :ivar ran: how often a node began it. :ivar excused: seconds in which the sidecar had to stand still."""

    asked: float
    timeout: float
    ran: int = 0
    answered: float | None = None
    status: int = 0
    echo: int | None = None
    excused: float = 0.0


@define
class RegistrationRecord:
    """What is known of a service's registration by those who made it.

    :ivar until: it is surely there until then; infinite for one without a TTL is not made here.
    :ivar gone: it is surely gone after that. :ivar busy: requests about it that are under way.
    :ivar overlapped: some that are under way began before others were over: in which order they are done is open.
    :ivar sure: nothing that overlapped leaves a doubt.
    """

    until: float = 0.0
    gone: float = 0.0
    busy: int = 0
    overlapped: bool = False
    sure: bool = False
    ever: bool = False


@define
class SubscriberRecord:
    """A subscriber. :ivar live: since when it hears, None once it left. :ivar heard: numbers of messages, in order."""

    topic: str
    queue: str
    live: float | None = None
    left: float | None = None
    heard: list[int] = field(factory=list)


@define
class MessageRecord:
    """A published message. :ivar taken: when the sidecar said so, None where it did not."""

    topic: str
    asked: float
    taken: float | None = None


@define
class Observations:
    """Everything that was seen. :ivar broken: promises that were found broken while it went on."""

    calls: dict[int, CallRecord] = field(factory=dict)
    registrations: dict[str, RegistrationRecord] = field(factory=dict)
    subscriptions: list[SubscriberRecord] = field(factory=list)
    messages: dict[int, MessageRecord] = field(factory=dict)
    broken: list[str] = field(factory=list)

    def began(self, name: str) -> RegistrationRecord:
        """A request about a registration goes out."""
        found = self.registrations.setdefault(name, RegistrationRecord())
        found.busy += 1
        if found.busy > 1:
            found.overlapped, found.sure = True, False
        return found

    def registered(self, name: str, asked: float, now: float, ttl: float, good: bool) -> None:
        """The answer to one that registers is here."""
        found, alone = self._over(name)
        if good:
            found.until, found.gone = asked + ttl, now + 1.5 * ttl + min(30.0, max(1.0, ttl / 2)) + _LATE
            found.ever = True
        found.sure = good and alone

    def deregistered(self, name: str, now: float, good: bool) -> None:
        """The answer to one that takes it out is here."""
        found, alone = self._over(name)
        if good:
            found.until = found.gone = now
        found.sure = good and alone

    def looked(self, name: str, asked: float, now: float, there: bool) -> None:
        """The answer to one who looks is here; it is judged at once."""
        found, alone = self._over(name)
        if not found.sure or not alone:
            return
        if not there and found.until > now:
            self.broken.append(f"{now:.3f} s: {name} is acknowledged until {found.until:.3f} s and is not there")
        if there and asked > found.gone:
            self.broken.append(f"{now:.3f} s: {name} is gone since {found.gone:.3f} s and is still there")

    def stood_still(self, seconds: float) -> None:
        """The sidecar is made to stand still: answers may be so late, and owners get time to renew (30 s at most)."""
        for call in self.calls.values():
            if call.answered is None:
                call.excused += seconds
        for found in self.registrations.values():
            found.gone += seconds + 30.0

    def _over(self, name: str) -> tuple[RegistrationRecord, bool]:
        """A request is answered. :returns: what is known, and whether no other one overlapped with it."""
        found = self.registrations[name]
        found.busy -= 1
        alone = not found.overlapped
        found.overlapped = found.overlapped and found.busy > 0
        return found, alone

    def judged(self) -> list[str]:
        """:returns: the promises that were broken, in words; empty where all were kept."""
        return [*self.broken, *self._calls(), *self._topics(), *self._queues()]

    def _calls(self) -> Iterator[str]:
        for number, call in self.calls.items():
            if call.ran > 1:
                yield f"call {number} ran {call.ran} times under --client_retry=safe"
            if call.answered is None:
                yield f"call {number}, asked at {call.asked:.3f} s, was never answered"
            elif call.answered - call.asked > call.timeout + call.excused + _SLACK:
                yield f"call {number} of {call.timeout:g} s was answered after {call.answered - call.asked:.3f} s"
            if call.status == 200 and (not call.ran or call.echo != number):
                yield f"call {number} was answered with what belongs to {call.echo}, and ran {call.ran} times"

    def _topics(self) -> Iterator[str]:
        plain = [each for each in self.subscriptions if not each.queue and each.live is not None]
        for one in plain:
            assert one.live is not None
            if len(set(one.heard)) != len(one.heard):
                yield f"a subscriber of {one.topic} heard a message twice: {one.heard}"
            for number, message in self.messages.items():
                while_there = message.asked > one.live and (one.left is None or (message.taken or 1e9) < one.left - 1)
                if message.topic == one.topic and message.taken and while_there and number not in one.heard:
                    yield f"message {number} was taken and a subscriber of {one.topic} did not hear it"
        for one, other in ((a, b) for a in plain for b in plain if a is not b and a.topic == b.topic):
            both = set(one.heard) & set(other.heard)
            if [number for number in one.heard if number in both] != [n for n in other.heard if n in both]:
                yield f"two subscribers of {one.topic} heard messages in another order"

    def _queues(self) -> Iterator[str]:
        counted: dict[tuple[str, str, int], int] = {}
        for each in self.subscriptions:
            for number in each.heard if each.queue else ():
                key = (each.topic, each.queue, number)
                counted[key] = counted.get(key, 0) + 1
        for (topic, queue, number), count in counted.items():
            if count > 1:
                yield f"message {number} of {topic} reached {count} members of the queue {queue}"
