"""What is answered to a GET of the registry: how it is, as soon as it is otherwise, or how it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sidecar.errors import NotFound
from sidecar.interfaces import IRegistry, IWatch
from sidecar.model import Service
from sidecar.problems import problem
from sidecar.registry.journal import Journal
from sidecar.web.catalog.blocking import BlockingReads
from sidecar.web.catalog.descriptions import Descriptions, Form, Key
from sidecar.web.catalog.past import PastCatalog
from sidecar.web.catalog.queries import RegistryQueries, RegistryQuery
from sidecar.web.resource import Later
from sidecar.web.response import JSON, Answer, Request, of_json, of_problem
from sidecar.wire import services
from sidecar.wire.ws import handshake

#: Said with every answer that comes from memory while the engine is away (RFC 7234 5.5.1, code 110).
STALE: Final = b'Warning: 110 microsidecar "Response is Stale"\r\n'
#: Go clients and the original CLI read one object a version; everybody else gets the README's object.
GO_CLIENT: Final = b"Go-http-client"


class RegistryReads:
    """Answers GETs, with the journal's index where there is a journal."""

    def __init__(
        self,
        registry: IRegistry,
        past: PastCatalog | None = None,
        blocking: BlockingReads | None = None,
        upgrade: Callable[[Request], Later | int] | None = None,
    ) -> None:
        """:param past: tells how it was. :param blocking: has requests wait for a change.
        :param upgrade: opens a WebSocket, for a request that wants one."""
        self._registry = registry
        self._past = past
        self._journal: Journal | None = None if past is None else past.journal
        self._blocking = blocking
        self._upgrade = upgrade
        self._descriptions = Descriptions()
        self._queries = RegistryQueries()
        self._watch: IWatch | None = None
        self._listed: tuple[object, Answer] = None, Answer(b"")
        #: What was registered or taken out is to be seen by whoever reads right after, a turn before the watch tells.
        self.forget = self._descriptions.forget

    def answer(self, request: Request) -> Any:
        """:returns: an answer, now or later, or NOT_DONE_YET for a WebSocket."""
        if b"upgrade" in request.fields and self._upgrade is not None and wants_websocket(request):
            return self._upgrade(request)
        asked = self._queries.read(request.uri)
        if asked.index is None and asked.at is None:
            return self._present(asked, request)
        if asked.at is not None:
            return self._as_it_was(asked, asked.at, request)
        waiting = None
        if self._blocking is not None and asked.index is not None:
            waiting = self._blocking.wait(request, asked.service, asked.index, asked.wait)
        if waiting is None:
            return self._present(asked, request)
        return waiting.addCallback(lambda _: self._present(asked, request))

    # --- How it is --------------------------------------------------------------------------------------------------

    def _present(self, asked: RegistryQuery, request: Request) -> Answer | Deferred[Answer]:
        if not asked.service:
            return self._registry.list().addCallback(self._list, self._index(""))
        form = asked.form or _usual_form(request)
        if asked.version is not None:
            return self._version(asked.service, asked.version, form, request)
        key = (asked.service, form, self._stale())
        kept = self._descriptions.get(key)
        return kept if kept is not None else self._read(key, request)

    def _read(self, key: Key, request: Request) -> Deferred[Answer]:
        if self._watch is None:
            self._watch = self._registry.watch(self._descriptions)
        began = self._descriptions.fresh.asked()
        name, form, _ = key
        headers = self._index(name)  # read before the state, which is then of this index or newer

        def encode(versions: tuple[Service, ...]) -> Answer:
            stale = self._stale()
            answer = self._encode(versions, form, stale, headers)
            if self._descriptions.fresh.holds(began):
                self._descriptions.keep((name, form, stale), answer)
            return answer

        return self._registry.get(name).addCallbacks(encode, self._missing, errbackArgs=(headers, request))

    def _version(self, name: str, version: str, form: Form, request: Request) -> Deferred[Answer]:
        headers = self._index(name)

        def pick(versions: tuple[Service, ...]) -> Answer:
            return self._encode(_only(versions, name, version), form, self._stale(), headers)

        return self._registry.get(name).addCallback(pick).addErrback(self._missing, headers, request)

    def _list(self, names: tuple[str, ...], headers: bytes) -> Answer:
        if self._stale():
            headers += STALE
        # Catalogs give the same tuple until it is another: many who waited for one change are told by one encoding.
        listed, answer = self._listed
        if names is not listed or answer.headers != JSON + headers:
            answer = of_json([{"name": name} for name in names], headers)
            self._listed = names, answer
        return answer

    def _missing(self, failure: Failure, headers: bytes, request: Request) -> Answer:
        """What is not there has an index too: whoever waits for its coming begins with it."""
        failure.trap(NotFound)
        return _not_found(failure.value, headers, request)

    @staticmethod
    def _encode(versions: tuple[Service, ...], form: Form, stale: bool, headers: bytes) -> Answer:
        headers += STALE if stale else b""
        if form == "array":
            return of_json([services.to_json(version) for version in versions], headers)
        described = services.describe(versions)
        if stale:
            described["stale"] = True
        return of_json(described, headers)

    def _index(self, name: str) -> bytes:
        journal = self._journal
        if journal is None:
            return b""
        return index_line(journal.index_of(name) if name else journal.index)

    def _stale(self) -> bool:
        return self._registry.state().stale_since is not None

    # --- How it was -------------------------------------------------------------------------------------------------

    def _as_it_was(self, asked: RegistryQuery, time: float, request: Request) -> Answer:
        if self._past is None:
            raise NotFound("at: no journal is kept here")
        headers = index_line(self._past.journal.index_at(time))
        if not asked.service:
            return of_json([{"name": name} for name in self._past.names(time)], headers)
        try:
            found = self._past.service(asked.service, time)
            if asked.version is not None:
                found = _only(found, asked.service, asked.version)
        except NotFound as error:
            return _not_found(error, headers, request)
        return self._encode(found, asked.form or _usual_form(request), False, headers)


def wants_websocket(request: Request) -> bool:
    """Other protocols may be offered to us too, and are passed over (RFC 9110, 7.8)."""
    return request.method == b"GET" and handshake.wanted(request.fields)


def index_line(index: int) -> bytes:
    """The header line that tells an index of the journal."""
    return b"X-Micro-Index: %d\r\n" % index


def _not_found(error: BaseException | None, headers: bytes, request: Request) -> Answer:
    assert error is not None
    found = problem(error)
    request.why = found.fault.detail
    answer = of_problem(found)
    assert isinstance(answer.headers, bytes)
    return Answer(answer.body, answer.status, answer.headers + headers)


def _only(versions: tuple[Service, ...], name: str, version: str) -> tuple[Service, ...]:
    """:raises NotFound: there is none of that version."""
    found = tuple(each for each in versions if each.version == version)
    if not found:
        there = ", ".join(sorted(repr(each.version) for each in versions))
        raise NotFound(f"service {name} has no version {version!r}; there are {there}")
    return found


def _usual_form(request: Request) -> Form:
    """The form for a client that asks for none."""
    agent = request.fields.get(b"user-agent")
    return "array" if agent is not None and agent.startswith(GO_CLIENT) else "object"
