"""A check by gRPC's own health protocol."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import defer
from twisted.internet.defer import Deferred

from sidecar.errors import SidecarError
from sidecar.health.threshold import CheckResult
from sidecar.model import Call, Node, Reply

#: The method, and what its answer's only field says.
_METHOD = "/grpc.health.v1.Health/Check"
_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class GrpcProbe:
    """Asks ``grpc.health.v1.Health`` of a server. SERVING is healthy.

    :source: github.com/grpc/grpc, doc/health-checking.md
    """

    def __init__(
        self, ask: Callable[[Node, Call, float], Deferred[Reply]], node: Node, service: str, timeout: float
    ) -> None:
        """:param ask: makes a gRPC call. :param service: of which it is asked, "" for the whole server.
        :param timeout: seconds."""
        self._ask = ask
        self._node = node
        name = service.encode()
        request = b"\x0a" + _varint(len(name)) + name if name else b""
        self._call = Call(service or "server", _METHOD, request, "application/grpc+proto")
        self._timeout = timeout
        self._shown = f"grpc {node.hostport}" + (f" {service}" if service else "")

    def check(self) -> Deferred[CheckResult]:
        return Deferred.fromCoroutine(self._check())

    async def _check(self) -> CheckResult:
        try:
            reply = await self._ask(self._node, self._call, self._timeout)
        except defer.CancelledError:
            raise
        except SidecarError as problem:
            return CheckResult(False, f"{self._shown}: {problem}")
        state = _state(reply.body)
        return CheckResult(state == 1, f"{self._shown} is {_STATES.get(state, state)}")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _state(body: bytes) -> int:
    """Field 1 of the answer, a small enumeration; 0 where it is left out."""
    return body[1] if len(body) >= 2 and body[0] == 0x08 else 0
