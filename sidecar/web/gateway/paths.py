"""``POST /<service>/<method>``: a call by path, as the original sidecar has it."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.web.resource import IResource

from sidecar.errors import NotFound
from sidecar.interfaces import IClient, IRegistry
from sidecar.model import Caller, CallPolicy, Reply
from sidecar.problems import API
from sidecar.web.access.grants import matches
from sidecar.web.auth import caller_of
from sidecar.web.params import body, shown
from sidecar.web.response import Request
from sidecar.web.rpc import Asked, CallingResource, metadata
from sidecar.wire import rpc
from sidecar.wire.gateway import mapping, payload
from sidecar.wire.gateway.mapping import PathTarget

#: Services that a 404 names.
_NAMED: Final = 3


class PathResource(CallingResource):
    """Reads service and method out of the path, and the request out of the body."""

    #: What the path is in the table of routes.
    route = b"/{service}/{method}"
    takes_options = False

    def __init__(
        self,
        registry: IRegistry,
        namespace: str,
        own: frozenset[bytes],
        client: IClient,
        policy: CallPolicy,
        max_body: int,
        *more: Any,
        **named: Any,
    ) -> None:
        """:param registry: is asked which service was meant where there is none of a name. :param namespace: before
        each name, "" for none. :param own: first words of paths of ours, on which a GET is more likely a slip.
        As for :class:`~sidecar.web.rpc.CallingResource` otherwise."""
        super().__init__({"POST": self._call}, API, client, policy, max_body, *more, **named)
        self._registry = registry
        self._namespace = namespace
        self._own = own

    def claim(self, request: Request, fixed: bool) -> IResource | None:
        """Whether a request is for a service. :param fixed: a path of ours has its path, though not with its method.

        :returns: itself, or None.
        """
        path = request.path
        if request.method != b"POST" and (
            fixed or path[1:].partition(b"/")[0] in self._own or not mapping.is_clean(path)
        ):
            return None
        return None if mapping.of_call(path, self._namespace) is None else self

    def _call(self, request: Request) -> int:
        target = mapping.of_call(request.path, self._namespace)
        assert target is not None  # or it was not claimed
        content = body(request, self.max_body)
        call, timeout, kind = payload.read(
            target, content, request.fields, metadata(request), request.uri.partition(b"?")[2]
        )
        return self.start(request, call, timeout, (target, kind))

    def replied(self, asked: Asked, reply: Reply) -> None:
        kind: str = asked[3][1]
        super().replied(asked, reply if kind == rpc.JSON else evolve(reply, content_type=kind))

    def failed(self, asked: Asked, error: BaseException) -> None:
        request, call, _, (target, _) = asked
        why = self.why(call.service, error)
        if not isinstance(why, NotFound) or call.version is not None:
            super().failed(asked, why)
            return
        looking = lacking(self._registry, target, self._namespace, caller_of(request), request.path)
        looking.addCallback(lambda told: CallingResource.failed(self, asked, told))
        request.on_lost = looking.cancel


def lacking(registry: IRegistry, target: PathTarget, namespace: str, caller: Caller, path: bytes) -> Deferred[NotFound]:
    """Why there is no service for a path, and what would find one.

    :returns: fires with the error to answer.
    """

    def told(names: tuple[str, ...]) -> NotFound:
        there = [name for name in names if name == target.bare or name.endswith(f".{target.bare}")]
        seen = [name for name in there if caller.services is None or matches(caller.services, name)]
        seen.sort(key=lambda name: (name != target.bare, name))
        hints = "; ".join(
            f"there is {name}, which --sidecar_namespace={name[: -len(target.bare)].removesuffix('.')} would find"
            for name in seen[:_NAMED]
        )
        what = f"there is no service {target.service}, which {shown(path)} means"
        where = f"; names begin with the namespace {namespace}" if namespace else ""
        return NotFound(f"{what}: {hints}" if hints else f"{what}{where}; GET /registry lists those there are")

    looking: Deferred[NotFound] = registry.list().addCallbacks(told, lambda _: told(()))
    return looking
