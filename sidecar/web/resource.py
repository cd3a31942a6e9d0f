"""Resources: methods by name, answers as values, later answers as Deferreds or coroutines."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from sidecar.problems import SIDECAR, MethodNotAllowed
from sidecar.web.params import shown
from sidecar.web.response import Answer, Request, fail, write

Later = Deferred[Answer] | Coroutine[Deferred[Any], Any, Answer]
#: Gives an answer, now or later, or NOT_DONE_YET where it took the request over.
Renderer = Callable[[Request], Answer | Later | int]

_log = Logger()


class MethodResource(Resource):
    """One path of the tree. It ends every request itself, so that Twisted's own HTML pages are never seen.

    HEAD is there wherever GET is. OPTIONS never arrives: the tree answers it for every path.
    """

    isLeaf = True

    def __init__(self, methods: Mapping[str, Renderer], id: str = SIDECAR) -> None:
        """:param methods: what renders each HTTP method. :param id: who speaks, in error JSON."""
        super().__init__()
        self._id = id
        self._renderers = {name.encode("ascii"): renderer for name, renderer in methods.items()}
        if "GET" in methods:
            self._renderers[b"HEAD"] = methods["GET"]
        #: The HTTP methods that this path speaks, for ``Allow``.
        self.allowed = (*(name.decode("ascii") for name in self._renderers), "OPTIONS")

    def render(self, request: Request) -> int:
        renderer = self._renderers.get(request.method)
        try:
            if renderer is None:
                raise MethodNotAllowed(shown(request.method, 20), shown(request.path), self.allowed)
            result = renderer(request)
        except Exception as error:
            fail(request, error, self._id)
        else:
            if isinstance(result, Answer):
                write(request, result)
            elif not isinstance(result, int):
                answer_later(request, result, self._id)
        return NOT_DONE_YET


def answer_later(request: Request, later: Later, id: str = SIDECAR) -> None:
    """Write what ``later`` comes to, good or bad; cancel it when the caller leaves first."""
    coming = later if isinstance(later, Deferred) else Deferred.fromCoroutine(later)

    def succeeded(answer: Answer) -> None:
        write(request, answer)

    def failed(failure: Failure) -> None:
        error = failure.value
        assert error is not None
        fail(request, error, id)

    def broke(failure: Failure) -> None:
        _log.failure("Writing an answer failed", failure)

    done: Deferred[None] = coming.addCallbacks(succeeded, failed)
    done.addErrback(broke)
    if not request.finished:
        request.on_lost = coming.cancel
