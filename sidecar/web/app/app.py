"""An app beside us that speaks plain HTTP, as the port that answers for it sees it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field

from sidecar import problems
from sidecar.errors import BadRequest, ServiceFault, SidecarError
from sidecar.health.description import AppEndpoints
from sidecar.interfaces import IAppHealth, IStreamTransport
from sidecar.model import Call, Fault, Node, Reply
from sidecar.rpc.dialects.bynode import DeferredTransport
from sidecar.web.app import builtins
from sidecar.web.app.builtins import BuiltIns
from sidecar.wire.bypath import operation


@define(eq=False)
class App:
    """The app behind the port.

    :ivar name: the service as which it is registered. :ivar node: where it really listens.
    :ivar transport: speaks plain HTTP to it. :ivar health: what the healthchecker knows, or None.
    :ivar observer: told when a call for it begins; what it gives is told how the call ended. None for nobody.
    :ivar streams: opens WebSockets to it, None where no streams are wanted.
    :ivar endpoints: what it is known to offer. :ivar builtins: what is answered for it.
    """

    name: str
    node: Node
    transport: DeferredTransport
    health: IAppHealth | None = None
    observer: Callable[[Call], Callable[[Reply | Fault], None]] | None = None
    endpoints: AppEndpoints = field(factory=AppEndpoints)
    streams: IStreamTransport | None = None
    builtins: BuiltIns = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.builtins = BuiltIns(self.name, self.transport.clock, self.health)

    async def serve(self, call: Call, timeout: float) -> Reply | Fault:
        """Have the app answer. Whatever goes wrong is a fault that the caller's dialect can carry."""
        is_json = "json" in call.content_type
        if call.method in builtins.METHODS and call.method not in self.endpoints.by_name:
            return await self._builtin(call, timeout, lambda: self.builtins.answer(call.method, is_json))
        ended = None if self.observer is None else self.observer(call)
        answer = await self._answer(call, timeout)
        self.builtins.count(answer)
        if ended is not None:
            ended(answer)
        return answer

    async def _answer(self, call: Call, timeout: float) -> Reply | Fault:
        try:
            return await self.transport.send(self.node, self._as_described(call), timeout)
        except SidecarError as error:
            return self.fault(error)

    async def grpc_health(self, call: Call, timeout: float) -> Reply | Fault:
        """What gRPC's health service says."""
        if call.method in self.endpoints.by_name:
            return await self.serve(call, timeout)
        is_json = "json" in call.content_type
        return await self._builtin(call, timeout, lambda: self.builtins.grpc_health(call.request, is_json))

    async def _builtin(self, call: Call, timeout: float, ours: Callable[[], Reply | Fault]) -> Reply | Fault:
        """The app's own answer, or ours where it has none."""
        try:
            reply = await self.transport.send(self.node, call, timeout)
        except ServiceFault as error:
            return ours() if builtins.is_unknown(error) else self.fault(error)
        except SidecarError as error:
            # Nobody is there: the checks say it in their words, where there are some.
            return self.fault(error) if self.builtins.well else ours()
        return reply if builtins.is_own_answer(reply, "json" in call.content_type) else ours()

    def _as_described(self, call: Call) -> Call:
        """:returns: the call by the path and verb that the app's own description gives its method, if it gives one.
        :raises BadRequest: the request lacks what the path holds."""
        if call.method.startswith("/"):
            raise BadRequest(f"method: {call.method!r} is not Type.Method")  # not every path of the app is for callers
        endpoint = self.endpoints.by_name.get(call.method)
        if endpoint is None or "path" not in endpoint.metadata:
            return call
        asked = operation.of(endpoint.metadata, call.request, "json" in call.content_type)
        if asked is None:
            return call
        return evolve(call, method=asked.target, verb=asked.verb, request=asked.body)

    def is_stream(self, method: str) -> bool:
        """Whether it declares that a method is a stream."""
        endpoint = self.endpoints.by_name.get(method)
        return self.streams is not None and endpoint is not None and endpoint.metadata.get("stream") == "true"

    def fault_of(self, error: BaseException) -> Fault:
        """As :meth:`fault`, of anything."""
        return problems.problem(error, self.name).fault

    def fault(self, error: SidecarError) -> Fault:
        return problems.problem(error, self.name).fault
