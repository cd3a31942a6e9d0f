"""The model of calls: client, attempts, selector and ejection, over the registry whose nodes come and go."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from zope.interface import implementer

from sidecar.errors import CallError, ConnectFailed, ConnectionLost, NotFound, NotSent, ServiceFault
from sidecar.interfaces import IExchange, IExchangeListener, ITransport
from sidecar.model import ANONYMOUS, Call, CallPolicy, Fault, Node, Reply
from sidecar.rpc.client import Client
from sidecar.rpc.ejection import USUAL
from sidecar.rpc.selector import Selector
from sidecar.test.model.registrations import NAMES, Registrations

#: The service, how it is tried again, the call's seconds; or which of the attempts under way, and what becomes of it.
Happening = tuple[str, Any, float, int, str]
happening = st.tuples(
    st.sampled_from((NAMES[0], *NAMES)),
    st.sampled_from(("safe", "safe", "error", "never")),
    st.sampled_from((0.3, 2.0, 10.0)),
    st.integers(0, 9),
    st.sampled_from(("call", "call", "call", "time", "well", "well", "fault", "breaks", "refused", "not sent")),
)

#: Seconds that the end of a call may be late by: two slots of the wheel of deadlines.
LATE = 0.02


@define(eq=False)
class CallModel:
    """A call. :ivar tries: at which nodes, and how each ended. :ivar ends: what its caller was told."""

    safe: bool
    deadline: float
    tries: list[ModelExchange] = field(factory=list)
    ends: list[Any] = field(factory=list)
    cancelled: bool = False
    pending: Any = None

    @property
    def over(self) -> bool:
        return self.cancelled or bool(self.ends)


@implementer(IExchange)
@define(eq=False)
class ModelExchange:
    """One attempt. :ivar state: what it waits for. :ivar sent: the node may have begun on it."""

    call: CallModel
    node: Node
    listener: IExchangeListener
    connected: bool
    state: str = "no connection"
    sent: bool = False
    open: bool = False

    def start(self) -> None:
        assert not self.call.over, "an attempt after the end"
        if self.call.safe:
            assert not any(each.sent or each.open for each in self.call.tries if each is not self), "it may run twice"
        self.open = True
        if self.connected:
            self.send()
        else:
            self.listener.attempt_waits(0.5)

    def send(self) -> None:
        """There is a connection."""
        self.state, self.sent = "no answer", True

    def cancel(self) -> None:
        self.open = False

    def before_sending(self, now: float) -> tuple[float, float]:
        return 0.0, 0.0

    def fail(self, error: CallError) -> None:
        """It ends."""
        self.open = False
        self.listener.attempt_failed(error)


@implementer(ITransport)
@define(eq=False)
class ModelTransport:
    """Makes exchanges that the model ends."""

    machine: Calls

    def exchange(self, node: Node, call: Call, timeout: float, listener: IExchangeListener) -> IExchange:
        return self.machine.tried(node, json.loads(call.request), listener)


class Calls(Registrations):
    """Rules and promises of calls, beside those of registrations."""

    @initialize()
    def start(self) -> None:
        super().start()
        self.selector = Selector(self.registry, "random", Random(1), self.clock)
        self.selector.startService()
        self.client = Client(self.selector, ModelTransport(self), self.clock, Random(2))
        self.client.startService()
        self.calls: list[CallModel] = []
        self.connected = True
        if not self.disk:
            # Else most of the time there is nobody to call.
            for number in (1, 2):
                self.register((NAMES[0], number), None)
            self.write()

    def tried(self, node: Node, number: int, listener: IExchangeListener) -> ModelExchange:
        """An attempt is about to begin."""
        call = self.calls[number]
        name, _, place = node.id.rpartition("-")
        assert (name, int(place)) in self.told, f"{node.id} is called, and is not registered"
        if not call.tries:
            self.spared(node, name)
        exchange = ModelExchange(call, node, listener, self.connected)
        call.tries.append(exchange)
        return exchange

    def spared(self, node: Node, name: str) -> None:
        """Who is ejected gets no first attempt, but for probes, and where too few others are left."""
        known = {f"127.0.0.1:{100 * (NAMES.index(name) + 1) + number}" for number in self.numbers(name)}
        out = {each.address: each.seconds for each in self.selector.ejected() if each.address in known}
        # Those whose time is over may get their probe.
        if len(known - out.keys()) >= max(1.0, USUAL.panic * len(known)) and out.get(node.hostport, 0.0) > 0:
            raise AssertionError(f"{node.hostport} is ejected for {out[node.hostport]} s and is called all the same")

    def open(self) -> list[ModelExchange]:
        """The attempts under way."""
        return [each for call in self.calls for each in call.tries if each.open]

    # --- What happens -----------------------------------------------------------------------------------------------

    @rule(connected=st.booleans())
    def connect(self, connected: bool) -> None:
        """There are connections to nodes from now on, or they have to be made."""
        self.connected = connected

    @rule(happens=st.lists(happening, min_size=4, max_size=16))
    def traffic(self, happens: list[Happening]) -> None:
        """Calls, and what becomes of them, one after the other."""
        for name, retry, timeout, which, how in happens:
            if how == "call":
                self.call(name, retry, timeout)
            elif how == "time":
                self.advance(0.25)
            elif self.open():
                self.end(self.open()[which % len(self.open())], how)

    def call(self, name: str, retry: Any, timeout: float) -> None:
        """Somebody calls a service."""
        call = CallModel(retry != "error", self.now + timeout)
        self.calls.append(call)
        asked = Call(name, "Say.Hello", json.dumps(len(self.calls) - 1).encode())
        policy = CallPolicy(timeout, 2, retry)
        call.pending = self.client.start(asked, policy, ANONYMOUS, self.ended_call, call)
        if not self.numbers(name):
            assert isinstance(call.ends[0], NotFound), call.ends
        elif not call.ends:
            assert call.tries, "it has nodes, and none was tried"

    @staticmethod
    def ended_call(call: CallModel, reply: Reply | None, error: BaseException | None) -> None:
        """The caller is told."""
        assert not call.over, f"told twice: {call.ends}, {reply}, {error}"
        call.ends.append(reply or error)

    @staticmethod
    def end(exchange: ModelExchange, how: str) -> None:
        """An attempt gets its connection, or its answer, or none."""
        if not exchange.sent:
            if how == "refused":
                exchange.fail(ConnectFailed("connection refused"))
            else:
                exchange.send()
        elif how == "well":
            exchange.open = False
            exchange.listener.attempt_replied(Reply(b"1"))
        elif how == "fault":
            exchange.fail(ServiceFault(Fault("foo", 500, "no", "")))
        elif how == "not sent":
            # A kept connection that was closed before anything of the request had left.
            exchange.sent = False
            exchange.fail(NotSent("closed"))
        else:
            exchange.fail(ConnectionLost("closed"))

    @precondition(lambda self: any(not call.over for call in self.calls))
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        """A caller hangs up."""
        call = data.draw(st.sampled_from([call for call in self.calls if not call.over]))
        call.cancelled = True
        call.pending.cancel()

    # --- What has to hold -------------------------------------------------------------------------------------------

    @invariant()
    def calls_end(self) -> None:
        """Each call ends by its deadline, its attempts with it; what is counted as under way is."""
        for call in self.calls:
            # What fails within an attempt is told to its caller.
            assert not any(isinstance(each, AssertionError) for each in call.ends), call.ends
            assert call.over or self.now <= call.deadline + LATE, f"it goes on after its deadline: {call}"
            assert not (call.over and any(each.open for each in call.tries)), "an attempt outlives its call"
        under_way = sum(not call.over for call in self.calls)
        assert self.client.in_flight == under_way, (self.client.in_flight, under_way)

    @invariant()
    def penalties_end(self) -> None:
        """No address is ejected for longer than may be."""
        assert all(0 <= each.seconds <= USUAL.longest for each in self.selector.ejected())
