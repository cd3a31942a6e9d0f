"""The resource tree: which resource is on which path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from sidecar import __version__
from sidecar.errors import CallerError, NotFound
from sidecar.web import assets
from sidecar.web.health import PREFIX, beats
from sidecar.web.openapi.document import asyncapi, openapi
from sidecar.web.openapi.routes import ROUTES
from sidecar.web.params import shown
from sidecar.web.resource import MethodResource, Renderer
from sidecar.web.response import Answer, Request, fail, of_json, write

#: The first words of our own paths.
OWN: Final = frozenset(route.path.encode("ascii")[1:].partition(b"/")[0] for route in ROUTES)

_EMPTY = Answer(b"", headers=b"")


class ICors(Protocol):
    """What the tree needs of the CORS policy."""

    def apply(self, request: Request) -> None:
        """Set the headers that let the page which asks read the answer, if it may."""


class IBrowsers(Protocol):
    """What the tree needs of the policy for pages in browsers."""

    def problem(self, request: Request) -> CallerError | None:
        """Why ``request`` is refused, or None."""


class IAccess(Protocol):
    """What the tree needs of the policy for who may do what."""

    def problem(self, request: Request, path: bytes, allowed: tuple[str, ...]) -> CallerError | None:
        """Why ``request`` is refused, or None. :param path: as the table of routes has it. :param allowed: the methods
        that it speaks."""


class IGateway(Protocol):
    """What the tree needs of a gateway: the resource for all paths that are not ours.

    :ivar route: its path in the table of routes. :ivar takes_options: OPTIONS that no page sends is for its services.
    """

    route: bytes
    takes_options: bool

    def claim(self, request: Request, fixed: bool) -> IResource | None:
        """:param fixed: a path of ours has its path, though not with its method. :returns: what answers ``request``,
        None where it is for no service."""


def build_tree(
    *,
    cors: ICors,
    registry: IResource,
    rpc: IResource,
    broker: IResource,
    health: IResource,
    stats: IResource | None = None,
    dashboard: IResource | None = None,
    stream: IResource | None = None,
    browsers: IBrowsers | None = None,
    more: Mapping[str, IResource] | None = None,
    check: IResource | None = None,
    reload: IResource | None = None,
    access: IAccess | None = None,
    gateway: IGateway | None = None,
    transparent: Callable[[Renderer], IResource] | None = None,
) -> RootResource:
    """Put each resource on its path.

    :param stats: None unless ``--enable_stats``; its path then says how to have it.
    :param dashboard: gives the parts of its page, which are below ``/stats/``; None without them.
    :param stream: the WebSocket end of go-micro streams, where there is one.
    :param browsers: judges each request first, None to judge none.
    :param more: further resources by their paths.
    :param check: takes heartbeats on all paths below ``/check/``, None where nobody waits for any.
    :param reload: reads files again, where there is somebody who can.
    :param access: judges what each caller may do, None where everybody may do everything.
    :param gateway: answers for services by path. :param transparent: makes the resource at ``/`` of what answers a GET.
    """
    resources: dict[str, IResource] = {
        "/registry": registry,
        "/rpc": rpc,
        "/broker": broker,
        "/health": health,
        "/stats": stats or NotFoundResource("statistics are off: start the sidecar with --enable_stats"),
    }
    resources.update(more or {})
    resources["/openapi.json"], resources["/asyncapi.json"] = DocumentResource(openapi), DocumentResource(asyncapi)
    others = {"/rpc/stream": stream, "/reload": reload}
    resources.update({path: resource for path, resource in others.items() if resource is not None})
    open_paths = sorted(path for path, found in resources.items() if not isinstance(found, NotFoundResource))
    index = IndexResource(open_paths)
    resources["/"] = index if transparent is None else transparent(index.tell)
    return RootResource(resources, cors, browsers, check, access, gateway, dashboard)


class RootResource(Resource):
    """The root: finds resources by their whole path, and answers OPTIONS for all of them."""

    def __init__(
        self,
        resources: Mapping[str, IResource],
        cors: ICors,
        browsers: IBrowsers | None = None,
        check: IResource | None = None,
        access: IAccess | None = None,
        gateway: IGateway | None = None,
        dashboard: IResource | None = None,
    ) -> None:
        super().__init__()
        self._dashboard = dashboard
        self._gateway = gateway
        self._spoken = {
            path.encode("ascii"): frozenset(method.encode("ascii") for method in getattr(found, "allowed", ("GET",)))
            for path, found in resources.items()
        }
        self._access = access
        self._check = check
        self._resources = {path.encode("ascii"): found for path, found in resources.items()}
        self._cors = cors
        self._browsers = browsers
        self._missing = NotFoundResource()
        self._preflight = PreflightResource()

    def by_path(self) -> dict[str, IResource]:
        """:returns: every path that is served, and its resource."""
        return {path.decode("ascii"): resource for path, resource in self._resources.items()}

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        self._cors.apply(request)
        if self._browsers is not None:
            problem = self._browsers.problem(request)
            if problem is not None:
                return RefusedResource(problem)
        place, method = request.path, request.method
        if method == b"OPTIONS" and not self._passes(request):
            return self._preflight
        found = self._resources.get(place)
        if found is None or (self._gateway is not None and method not in self._spoken[place]):
            place, found = self._otherwise(request, found)
        if self._access is None and found is not self._missing and b"origin" not in request.fields:
            # What was judged is in the header, and what judges it stays as it is.
            request.found_for_all(found)
        if self._access is not None and found is not self._missing:
            problem = self._access.problem(request, place, getattr(found, "allowed", ()))
            if problem is not None:
                return RefusedResource(problem)
        return found

    def _passes(self, request: Request) -> bool:
        """Whether an OPTIONS goes on to a service: no page sent it, and its path is none of ours."""
        gateway = self._gateway
        return (
            gateway is not None
            and gateway.takes_options
            and b"origin" not in request.fields
            and request.path not in self._resources
            and gateway.claim(request, False) is not None
        )

    def _otherwise(self, request: Request, fixed: IResource | None) -> tuple[bytes, IResource]:
        """Who answers where no path of ours, as it is written, speaks the method: a service, or one of ours after all.

        :param fixed: what is on the path, None for nothing. :returns: with the path in the table of routes.
        """
        place, found, gateway = request.path, fixed, self._gateway
        if self._dashboard is not None and request.method in (b"GET", b"HEAD") and assets.is_asset(place):
            # Before any service: the page runs what comes from here, with all that its user may do.
            return assets.ROUTE, self._dashboard
        if gateway is not None and gateway.takes_options and not beats(request.method, place):
            claimed = gateway.claim(request, found is not None)  # a proxy gets all that is not exactly ours
            if claimed is not None:
                return gateway.route, claimed
        if found is None and self._check is not None and beats(request.method, place):
            return PREFIX, self._check
        if found is None and self._dashboard is not None and assets.is_asset(place):
            return assets.ROUTE, self._dashboard
        if found is None:
            place = self._by_segments(request)
            found = self._resources.get(place)
        if gateway is not None and (found is None or request.method not in self._spoken[place]):
            claimed = gateway.claim(request, found is not None)
            if claimed is not None:
                return gateway.route, claimed
        if found is None and self._check is not None and request.path.startswith(PREFIX):
            return PREFIX, self._check
        return place, found or self._missing

    def _by_segments(self, request: Request) -> bytes:
        """The path, where it was written in another way: escaped, or with a slash at its end; b"" for none of ours."""
        segments = [*(request.prepath or ()), *(request.postpath or ())]
        if request.path[:7].lower() in (b"http://", b"https:/"):
            # A target in absolute form, which every server must take (RFC 9112, 3.2.2). Its first segments are scheme
            # and host, of which Twisted cut the first letter.
            segments = segments[3:]
        if segments and not segments[-1]:
            segments.pop()
        if b"" in segments:
            return b""
        return b"/" + b"/".join(segments)


class DocumentResource(MethodResource):
    """A document that is the same for everybody, made when it is first asked for."""

    def __init__(self, make: Callable[[], object]) -> None:
        super().__init__({"GET": self._tell})
        self._make = make
        self._answer: Answer | None = None

    def _tell(self, request: Request) -> Answer:
        if self._answer is None:
            self._answer = of_json(self._make())
        return self._answer


class IndexResource(MethodResource):
    """What there is, for whoever asks for ``/``."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__({"GET": self.tell})
        self._answer = of_json({"name": "microsidecar", "version": __version__, "paths": paths})

    def tell(self, request: Request) -> Answer:
        return self._answer


class NotFoundResource(Resource):
    """A path where nothing is."""

    isLeaf = True

    def __init__(self, why: str = "") -> None:
        """:param why: what to do about it, "" where there is nothing to do."""
        super().__init__()
        self._why = why

    def render(self, request: Request) -> int:
        fail(
            request, NotFound(self._why or f"there is no path {shown(request.path)} here; GET / lists those there are")
        )
        return NOT_DONE_YET


class RefusedResource(Resource):
    """What a request gets that is not to be looked at any further."""

    isLeaf = True

    def __init__(self, problem: CallerError) -> None:
        super().__init__()
        self._problem = problem

    def render(self, request: Request) -> int:
        fail(request, self._problem)
        return NOT_DONE_YET


class PreflightResource(Resource):
    """The answer to OPTIONS, on every path: empty, with the headers that the CORS policy has set."""

    isLeaf = True

    def render(self, request: Request) -> int:
        write(request, _EMPTY)
        return NOT_DONE_YET
