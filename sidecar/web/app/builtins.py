"""What go-micro's servers answer without being told, answered for an app that does not."""

from __future__ import annotations

import threading

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from sidecar.errors import BadRequest, ServiceFault
from sidecar.interfaces import IAppHealth
from sidecar.model import Fault, Reply
from sidecar.stats.recorder import resident
from sidecar.waiting import wall
from sidecar.wire import faults
from sidecar.wire.builtins import debug, grpchealth
from sidecar.wire.builtins.debug import DebugStats


@define(eq=False)
class BuiltIns:
    """How an app is and what it did, as far as the sidecar beside it knows.

    :ivar name: of the service. :ivar health: what its checks found, None where nothing checks it.
    :ivar requests: calls that it was handed. :ivar errors: those of them that ended in an error.
    """

    name: str
    clock: IReactorTime
    health: IAppHealth | None = None
    requests: int = field(default=0, init=False)
    errors: int = field(default=0, init=False)
    _began: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.clock.seconds()

    def count(self, answer: Reply | Fault) -> None:
        """A call was answered."""
        self.requests += 1
        self.errors += isinstance(answer, Fault)

    @property
    def well(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return self.health is None or self.health.healthy() is not False

    def answer(self, method: str, is_json: bool) -> Reply | Fault:
        """:param method: one of :data:`METHODS`."""
        if method == debug.STATS:
            return debug.stats(self._figures(), is_json)
        if not self.well:
            assert self.health is not None
            return Fault(self.name, 503, self.health.explain(), faults.reason(503))
        return debug.health(is_json)

    def grpc_health(self, request: bytes, is_json: bool) -> Reply | Fault:
        """Of the server, or of the service by its name; others are not known here."""
        try:
            service = grpchealth.asked(request, is_json)
        except BadRequest as error:
            return Fault(self.name, 400, str(error), faults.reason(400))
        if service not in ("", self.name):
            return Fault(self.name, 404, f"{service}: only {self.name} is known here", faults.reason(404))
        status = grpchealth.SERVING if self.well else grpchealth.NOT_SERVING
        return Reply(grpchealth.answer(status, is_json), "application/json" if is_json else "application/protobuf")

    def _figures(self) -> DebugStats:
        """Memory and threads are the sidecar's: it cannot look into the app."""
        up = int(self.clock.seconds() - self._began)
        now = int(wall(self.clock))
        return DebugStats(
            timestamp=now,
            started=now - up,
            uptime=up,
            memory=resident(),
            threads=threading.active_count(),
            gc=0,
            requests=self.requests,
            errors=self.errors,
        )


#: What is answered for an app that neither declares nor answers it.
METHODS = (debug.HEALTH, debug.STATS)


def is_own_answer(answer: Reply, is_json: bool) -> bool:
    """Whether an app's answer is meant as that, in the form that was asked for, and is no page for everything."""
    return answer.body.lstrip()[:1] == b"{" if is_json else "protobuf" in answer.content_type


def is_unknown(error: ServiceFault) -> bool:
    """Whether an app says that it has no such method: by a status alone, of those for what is not there."""
    return not error.enveloped and (error.fault.code < 500 or error.fault.code == 501)
