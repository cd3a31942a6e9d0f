"""One call under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from sidecar.errors import BadRequest, Forbidden, NotFound, SidecarError
from sidecar.model import Call, CallPolicy, Node, Reply
from sidecar.net.reactor.timerwheel import TimerWheel
from sidecar.rpc.attempts import Attempts, GiveUp, Wait
from sidecar.rpc.dialects import Exchange

if TYPE_CHECKING:
    from sidecar.rpc.client import Client

#: Told how a call ended: its context, and either a reply or an error.
Done = Callable[[Any, Reply | None, BaseException | None], None]


class PendingCall:
    """The shell around :class:`~sidecar.rpc.attempts.Attempts`, which is made when the first attempt fails.

    It tells its ``done`` once how the call ended, unless it was cancelled.
    """

    __slots__ = (
        "_attempts",
        "_began",
        "_call",
        "_client",
        "_context",
        "_deadline",
        "_done",
        "_exchange",
        "_looking",
        "_node",
        "_nodes",
        "_policy",
        "_wait",
        "slot",
    )

    def __init__(self, client: Client, call: Call, policy: CallPolicy, done: Done, context: Any) -> None:
        self._client = client
        self._call = call
        self._policy = policy
        self._done: Done | None = done
        self._context = context
        self._attempts: Attempts | None = None
        self._exchange: Exchange | None = None
        self._nodes: Iterator[Node] | None = None
        self._node: Node | None = None
        self._looking: Deferred[Any] | None = None
        self._wait: IDelayedCall | None = None
        self.slot: set[Any] | None = None

    def begin(self) -> None:
        """Find out who could be called."""
        client, call = self._client, self._call
        self._began = now = client.seconds()
        self._deadline = now + self._policy.timeout
        client.deadlines.add(self, self._deadline)
        if call.address is None:
            node = client.selector.first(call.service)
            if node is not None:
                self._try(node)
                return
        try:
            nodes = client.selector.choose(call.service) if call.address is None else self._at(call.address)
        except Exception as error:
            self.give_up(error)
            return
        if type(nodes) is Deferred:
            self._looking = nodes
            nodes.addCallbacks(self._found, self._not_found)
            nodes.addErrback(self._broken)
        else:
            self._found(nodes)  # type: ignore[arg-type]  # the other half of the union

    def cancel(self) -> None:
        """The caller has left: end everything, tell nobody."""
        if self._done is not None:
            self._done = None
            self._client.cancelled += 1
            self._let_go()

    def give_up(self, error: BaseException) -> None:
        """End everything and tell the caller why."""
        done, self._done = self._done, None
        if done is not None:
            self._let_go()
            self._client.count(error)
            done(self._context, None, error)

    # --- Finding nodes ----------------------------------------------------------------------------------------------

    def _at(self, address: str) -> Iterator[Node] | Deferred[Iterator[Node]]:
        host, colon, port = address.rpartition(":")
        if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
            raise BadRequest(f"invalid address: {address[:100]!r} is not host:port")
        try:
            node = self._client.selector.at(self._call.service, address)
        except NotFound:
            if not self._client.any_address:
                raise
            node = None
        if isinstance(node, Deferred):
            return node.addCallbacks(self._permitted, self._unknown, callbackArgs=(address,), errbackArgs=(address,))
        return self._permitted(node, address)

    def _permitted(self, node: Node | None, address: str) -> Iterator[Node]:
        if node is None:
            if not self._client.any_address:
                raise Forbidden(
                    f"address: no node of {self._call.service} is registered at {address}; "
                    "register it, or start the sidecar with --rpc_any_address"
                )
            host, _, port = address.rpartition(":")
            node = Node("unregistered", host.removeprefix("[").removesuffix("]"), int(port))
        return iter((node,))

    def _unknown(self, failure: Failure, address: str) -> Iterator[Node]:
        if not self._client.any_address:
            return failure  # type: ignore[return-value]  # passed on, as errbacks do
        failure.trap(NotFound)
        return self._permitted(None, address)

    def _found(self, nodes: Iterator[Node]) -> None:
        self._looking = None
        self._nodes = nodes
        self._try(next(nodes))

    def _not_found(self, failure: Failure) -> None:
        self._looking = None
        error = failure.value
        self.give_up(error if error is not None else RuntimeError(str(failure)))

    def _broken(self, failure: Failure) -> None:
        self.give_up(failure.value or RuntimeError(str(failure)))

    # --- Attempts ---------------------------------------------------------------------------------------------------

    def _try(self, node: Node) -> None:
        client = self._client
        self._node = node
        if client.selector.counts:
            client.selector.began(node)
        try:
            exchange = client.transport.exchange(node, self._call, self._deadline - self._began, self)
        except Exception as error:
            self.give_up(error)
            return
        self._exchange = exchange
        exchange.start()

    # What the transport tells: see rpc.transports.Listener.

    def attempt_replied(self, reply: Reply) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        client, slot, node = self._client, self.slot, self._node
        if slot is not None:
            slot.discard(self)
        if client.selector.counts:
            assert node is not None
            client.selector.mark(node, None)
        client.succeeded += 1
        done(self._context, reply, None)

    def attempt_failed(self, error: SidecarError) -> None:
        client, node = self._client, self._node
        if self._done is None or node is None:
            return
        self._exchange = self._node = None
        client.selector.mark(node, error)
        if self._nodes is None:
            self._nodes = client.selector.others(self._call.service, node)
        following = next(self._nodes, None)
        elsewhere = following is not None
        now = client.seconds()
        attempts = self._machine()
        verdict = attempts.failed(node, now - self._began, error, elsewhere, now)
        if isinstance(verdict, GiveUp):
            self.give_up(verdict.error)
            return
        client.retried += 1
        if following is None and self._call.address is None:
            # All were tried: another round.
            following = client.selector.first(self._call.service)
        if isinstance(verdict, Wait):
            self._wait = client.clock.callLater(verdict.seconds, self._again, following or node)
        else:
            self._again(following or node)

    def expired(self) -> None:
        """The deadline passed (the wheel tells it)."""
        now, node = self._client.seconds(), self._node
        state = "the registry did not answer" if self._looking is not None else "there was a pause"
        if self._exchange is not None:
            state = self._exchange.state
        error = self._machine().expired(node, now - self._began, state)
        if node is not None:
            self._client.selector.mark(node, error)
            self._node = None
        self.give_up(error)

    def _again(self, node: Node) -> None:
        self._wait = None
        self._began = self._client.seconds()
        self._try(node)

    def _machine(self) -> Attempts:
        if self._attempts is None:
            self._attempts = Attempts(self._call, self._policy, self._deadline, self._client.random)
        return self._attempts

    def _let_go(self) -> None:
        """End whatever is under way for it."""
        TimerWheel.remove(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        if self._node is not None:
            self._client.selector.mark(self._node, None)
            self._node = None
        wait, self._wait = self._wait, None
        if wait is not None:
            wait.cancel()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
