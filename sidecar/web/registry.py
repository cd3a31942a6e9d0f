"""``/registry``: who is there, who comes, who goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from sidecar.errors import BadRequest, NotFound
from sidecar.interfaces import IRegistry, IWatch, IWatcher
from sidecar.model import Change, Service
from sidecar.net.client.addressrules import AddressRules
from sidecar.waiting import Freshness
from sidecar.web.access.grants import check_service
from sidecar.web.access.ownership import Ownership
from sidecar.web.auth import caller_of
from sidecar.web.params import body, query
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json
from sidecar.wire import durations, fields, services

Form = Literal["object", "array"]

#: Said with every answer that comes from memory while the engine is away (RFC 7234 5.5.1, code 110).
STALE = b'Warning: 110 microsidecar "Response is Stale"\r\n'
#: Go clients and the original CLI read one object a version; everybody else gets the README's object.
GO_CLIENT = b"Go-http-client"
#: What a query may hold, whatever the method.
PARAMETERS = ("service", "format", "version", "ttl")
#: Descriptions that are kept encoded, and the bytes that they may hold together.
MAX_KEPT = 4096
MAX_KEPT_BYTES = 16 * 1024 * 1024


@frozen
class RegistryQuery:
    """What a GET asks.

    :ivar form: None leaves it to the kind of client. :ivar version: the only one of interest, or None.
    """

    service: str
    form: Form | None
    version: str | None = None


@implementer(IWatcher)
@define(eq=False)
class Descriptions:
    """Encoded descriptions of services, kept until the service changes."""

    _kept: dict[tuple[str, Form, bool], Answer] = field(factory=dict, init=False)
    _bytes: int = field(default=0, init=False)
    #: So that an answer which was asked for before a change is not kept after it.
    fresh: Freshness = field(factory=Freshness, init=False)

    def changed(self, change: Change) -> None:
        self.forget(change.service.name)

    def invalidated(self, name: str) -> None:
        self.forget(name)

    def get(self, name: str, form: Form, stale: bool) -> Answer | None:
        return self._kept.get((name, form, stale))

    def keep(self, name: str, form: Form, stale: bool, answer: Answer) -> None:
        if len(self._kept) >= MAX_KEPT or self._bytes + len(answer.body) > MAX_KEPT_BYTES:
            # Starting over costs one encoding a service in use, and no bookkeeping on each read.
            self._kept.clear()
            self._bytes = 0
        if len(answer.body) <= MAX_KEPT_BYTES:
            self._kept[name, form, stale] = answer
            self._bytes += len(answer.body)

    def forget(self, name: str) -> None:
        self.fresh.changed()
        for form in ("object", "array"):
            for stale in (False, True):
                gone = self._kept.pop((name, form, stale), None)
                if gone is not None:
                    self._bytes -= len(gone.body)


class RegistryResource(MethodResource):
    """GET lists or describes, POST registers, DELETE deregisters."""

    def __init__(
        self,
        registry: IRegistry,
        max_body: int,
        make_id: Callable[[str], str],
        limits: fields.RegistrationLimits | None = None,
        rules: AddressRules | None = None,
        ownership: Ownership | None = None,
    ) -> None:
        """:param max_body: bytes of a registration. :param make_id: makes the id of a node that came without, from the
        name of its service. :param limits: how much a registration may hold.
        :param rules: which addresses nodes may have.
        :param ownership: remembers who registered what, None where nobody has a name."""
        super().__init__({"GET": self._read, "POST": self._register, "DELETE": self._deregister})
        self._registry = registry
        self._max_body = max_body
        self._make_id = make_id
        self._limits = limits
        self._rules = rules or AddressRules()
        self._ownership = ownership
        self._descriptions = Descriptions()
        self._queries: dict[bytes, RegistryQuery] = {}
        self._watch: IWatch | None = None

    def _read(self, request: Request) -> Answer | Deferred[Answer]:
        asked_for = self._queries.get(request.uri)
        if asked_for is None:
            asked_for = self._understand(request.uri)
        if asked_for.version is not None:
            return self._describe_version(asked_for, request)
        if not asked_for.service:
            return self._registry.list().addCallback(self._list)
        form = asked_for.form or _usual_form(request)
        kept = self._descriptions.get(asked_for.service, form, self._stale())
        if kept is not None:
            return kept
        return self._describe(asked_for.service, form)

    def _understand(self, target: bytes) -> RegistryQuery:
        asked = query(target).expect(*PARAMETERS)
        form = asked.one("format")
        if form not in (None, "object", "array"):
            raise BadRequest(f"format: {form!r} is not known; it is object or array")
        name = asked.one("service") or ""
        if len(name) > fields.MAX_NAME:
            raise BadRequest(f"service: is longer than {fields.MAX_NAME} characters")
        version = asked.one("version") or None
        if version is not None and not name:
            raise BadRequest("version: of which service? Name it by service=")
        asked_for = RegistryQuery(name, form, version)  # type: ignore[arg-type]  # the line above narrows it
        if len(target) < 1024:
            if len(self._queries) >= MAX_KEPT:
                self._queries.clear()
            self._queries[target] = asked_for
        return asked_for

    def _list(self, names: tuple[str, ...]) -> Answer:
        return of_json([{"name": name} for name in names], STALE if self._stale() else b"")

    def _describe_version(self, asked_for: RegistryQuery, request: Request) -> Deferred[Answer]:
        form = asked_for.form or _usual_form(request)

        def pick(versions: tuple[Service, ...]) -> Answer:
            found = tuple(each for each in versions if each.version == asked_for.version)
            if not found:
                there = ", ".join(sorted(repr(each.version) for each in versions))
                raise NotFound(f"service {asked_for.service} has no version {asked_for.version!r}; there are {there}")
            return self._encode(found, form, self._stale())

        return self._registry.get(asked_for.service).addCallback(pick)

    def _describe(self, name: str, form: Form) -> Deferred[Answer]:
        if self._watch is None:
            self._watch = self._registry.watch(self._descriptions)
        asked = self._descriptions.fresh.asked()

        def encode(versions: tuple[Service, ...]) -> Answer:
            stale = self._stale()
            answer = self._encode(versions, form, stale)
            if self._descriptions.fresh.holds(asked):
                self._descriptions.keep(name, form, stale, answer)
            return answer

        return self._registry.get(name).addCallback(encode)

    @staticmethod
    def _encode(versions: tuple[Service, ...], form: Form, stale: bool) -> Answer:
        headers = STALE if stale else b""
        if form == "array":
            return of_json([services.to_json(version) for version in versions], headers)
        described = services.describe(versions)
        if stale:
            described["stale"] = True
        return of_json(described, headers)

    async def _register(self, request: Request) -> Answer:
        lifetime = _ttl(query(request.uri).expect(*PARAMETERS).one("ttl"))
        service = services.decode(body(request, self._max_body), "register", self._make_id, self._limits)
        caller = caller_of(request)
        check_service(caller, "register", service.name)
        for index, node in enumerate(service.nodes):
            refusal = self._rules.refusal(node.address)
            if refusal is not None:
                raise BadRequest(f"nodes[{index}].address: {refusal}")
        if self._ownership is not None:
            self._ownership.check_register(service, caller)
        try:
            await self._registry.register(service, lifetime, caller)
        finally:
            # The watch tells it too, but a turn later: a caller who reads right after must see what was written.
            self._descriptions.forget(service.name)
        if self._ownership is not None:
            self._ownership.registered(service, lifetime, caller)
        return of_json(services.to_json(service))

    async def _deregister(self, request: Request) -> Answer:
        query(request.uri).expect(*PARAMETERS)
        service = services.decode(body(request, self._max_body), "deregister", self._make_id, self._limits)
        caller = caller_of(request)
        check_service(caller, "register", service.name)
        if self._ownership is not None:
            self._ownership.check_deregister(service, caller)
        try:
            await self._registry.deregister(service, caller)
        finally:
            self._descriptions.forget(service.name)
        if self._ownership is not None:
            self._ownership.deregistered(service)
        return of_json({})

    def _stale(self) -> bool:
        return self._registry.state().stale_since is not None


def _usual_form(request: Request) -> Form:
    """The form for a client that asks for none."""
    agent = request.fields.get(b"user-agent")
    return "array" if agent is not None and agent.startswith(GO_CLIENT) else "object"


def _ttl(text: str | None) -> float | None:
    """:returns: seconds, or None for ever. :raises BadRequest: it is no duration, or none that a node could live."""
    if text is None:
        return None
    try:
        seconds = durations.parse(text)
    except ValueError as error:
        raise BadRequest(f"ttl: {error}") from None
    if seconds <= 0:
        raise BadRequest(f"ttl: {text!r} is no time at all; write one like 10s, or leave ttl out to stay for ever")
    return seconds
