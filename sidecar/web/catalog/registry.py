"""``/registry``: who is there, who comes, who goes."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.errors import BadRequest
from sidecar.interfaces import IRegistry
from sidecar.net.client.addressrules import AddressRules
from sidecar.web.access.grants import check_service
from sidecar.web.access.ownership import Ownership
from sidecar.web.auth import caller_of
from sidecar.web.catalog import queries
from sidecar.web.catalog.reads import RegistryReads
from sidecar.web.params import body, query
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json
from sidecar.wire import durations, fields, services


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
        reads: RegistryReads | None = None,
    ) -> None:
        """:param max_body: bytes of a registration. :param make_id: makes the id of a node that came without, from the
        name of its service. :param limits: how much a registration may hold.
        :param rules: which addresses nodes may have.
        :param ownership: remembers who registered what, None where nobody has a name.
        :param reads: answers GETs, None for one that knows no journal."""
        self._reads = reads or RegistryReads(registry)
        super().__init__({"GET": self._reads.answer, "POST": self._register, "DELETE": self._deregister})
        self._registry = registry
        self._max_body = max_body
        self._make_id = make_id
        self._limits = limits
        self._rules = rules or AddressRules()
        self._ownership = ownership

    async def _register(self, request: Request) -> Answer:
        lifetime = _ttl(query(request.uri).expect(*queries.PARAMETERS).one("ttl"))
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
            self._reads.forget(service.name)
        if self._ownership is not None:
            self._ownership.registered(service, lifetime, caller)
        return of_json(services.to_json(service))

    async def _deregister(self, request: Request) -> Answer:
        query(request.uri).expect(*queries.PARAMETERS)
        service = services.decode(body(request, self._max_body), "deregister", self._make_id, self._limits)
        caller = caller_of(request)
        check_service(caller, "register", service.name)
        if self._ownership is not None:
            self._ownership.check_deregister(service, caller)
        try:
            await self._registry.deregister(service, caller)
        finally:
            self._reads.forget(service.name)
        if self._ownership is not None:
            self._ownership.deregistered(service)
        return of_json({})


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
