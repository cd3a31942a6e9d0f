"""Who asks, and whether they may: the one place that judges credentials."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

from attrs import define, field
from twisted.logger import Logger

from sidecar.errors import CallerError, Forbidden, TooManyFailures, Unauthenticated
from sidecar.model import Caller
from sidecar.net.ratelimit import TokenBuckets
from sidecar.web.access import rolefile, tokenfile
from sidecar.web.access.grants import Grant, date
from sidecar.web.access.tickets import Tickets
from sidecar.web.access.tokenfile import Token
from sidecar.web.access.watched import WatchedFile
from sidecar.web.auth import address_of
from sidecar.web.health import PREFIX
from sidecar.web.observe.stats import wants_page
from sidecar.web.openapi.routes import ROUTES
from sidecar.web.response import Request

#: The header for our token, where Authorization is for the app's own services.
HEADER: Final = b"micro-sidecar-token"
#: The subprotocol that shows a token when a WebSocket is opened.
SUBPROTOCOL: Final = b"micro-token."
#: Stands for every method of a path whose methods are not ours.
ANY: Final = b"*"
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([^ ]+) *")
#: Failures of one address that are answered as such at once, and a second after that.
_BURST, _RATE = 10, 0.2


def _roles() -> dict[tuple[bytes, bytes], str]:
    found: dict[tuple[bytes, bytes], str] = {}
    for route in ROUTES:
        path = PREFIX if route.path.startswith(PREFIX.decode()) else route.path.encode()
        found[path, route.method.encode()] = route.role
        if route.method == "GET":
            found[path, b"HEAD"] = route.role
        if route.any_method:
            found[path, ANY] = route.role
    return found


@define(eq=False)
class AccessPolicy:
    """Judges each request before its resource sees it, and takes what was shown to us out of it.

    :ivar failed: how many requests showed what is not good. :ivar limited: how many of them got a 429.
    :ivar denied: how many lacked a role.
    """

    log = Logger()

    _seconds: Callable[[], float]
    _date: Callable[[], float]
    _tokens: WatchedFile[tuple[Token, ...]] | None = None
    _subjects: WatchedFile[dict[str, Grant]] | None = None
    _tickets: Tickets = field(factory=Tickets)
    _failures: TokenBuckets = field(factory=lambda: TokenBuckets(_RATE, _BURST), init=False)
    _by_route: dict[tuple[bytes, bytes], str] = field(factory=_roles, init=False)
    failed: int = field(default=0, init=False)
    limited: int = field(default=0, init=False)
    denied: int = field(default=0, init=False)

    def problem(self, request: Request, path: bytes, allowed: tuple[str, ...]) -> CallerError | None:
        """Why ``request`` is refused, or None; then its connection knows who asks.

        :param path: as the table of routes has it. :param allowed: the methods that the path speaks.
        """
        role = self._by_route.get((path, request.method))
        if role is None:
            role = self._by_route.get((path, ANY))
        if role is None:
            # A method that is not spoken is told so; one that nobody gave a role is not for everybody.
            role = "admin" if request.method.decode("latin-1") in allowed else ""
        try:
            if not role or (path == b"/stats" and wants_page(request.fields)):
                if request.method == b"POST" and path == b"/ticket":
                    self.authenticate(request)
                withhold(request, HEADER)
                return None
            caller = self.authenticate(request)
        except CallerError as error:
            return error
        if role in caller.roles:
            return None
        if not caller.name:
            return Unauthenticated(
                f"this needs the role {role}: show a token (Authorization: Bearer TOKEN, or Micro-Sidecar-Token: TOKEN)"
            )
        self.denied += 1
        return Forbidden(f"{caller.name} has not the role {role}, which this needs; an administrator can give it")

    def authenticate(self, request: Request) -> Caller:
        """Find out who asks, and have the request's connection know it. What they showed goes no further.

        :raises Unauthenticated: what was shown is not good. :raises TooManyFailures: and has not been for too often.
        """
        channel = request.channel
        address = "" if channel is None else address_of(channel.getPeer())
        caller = self._shown(request, address)
        if channel is not None:
            channel.identity = caller
        return caller

    def ticket(self, request: Request) -> tuple[str, Caller]:
        """:returns: a ticket for whoever asks, and who that is.

        :raises Unauthenticated: it is nobody."""
        channel = request.channel
        caller = None if channel is None else channel.identity
        if not isinstance(caller, Caller) or not caller.name:
            raise Unauthenticated("a ticket stands for somebody: show a token (Authorization: Bearer TOKEN)")
        return self._tickets.issue(caller, self._seconds()), caller

    def stats(self) -> dict[str, int]:
        """Numbers for ``/stats``."""
        return {"failed": self.failed, "limited": self.limited, "denied": self.denied}

    # --- What can be shown ------------------------------------------------------------------------------------------

    def _shown(self, request: Request, address: str) -> Caller:
        fields = request.fields
        bearer = _BEARER.fullmatch(fields.get(b"authorization", b""))
        token = _own_token(fields)
        ticket = _take_ticket(request)
        withhold(request, HEADER)
        if token or ticket:
            if bearer is not None and self._find(bearer[1]) is not None:
                withhold(request, b"authorization")
            return self._by_token(token, address) if token else self._by_ticket(ticket, address)
        peer = self._peer(request, address)
        if bearer is None:
            return peer or Caller(roles=frozenset(), address=address)
        if peer is not None and self._find(bearer[1]) is None:
            return peer  # what else they send is for the app's own services
        withhold(request, b"authorization")
        return self._by_token(bearer[1], address)

    def _find(self, token: bytes) -> Token | None:
        return None if self._tokens is None else tokenfile.find(self._tokens.current(), token)

    def _by_token(self, shown: bytes, address: str) -> Caller:
        found = self._find(shown)
        if found is None:
            raise self._failure("the token is not known here, or was revoked", address)
        expires = found.grant.expires
        if expires is not None and expires <= self._date():
            raise self._failure(f"the token {found.grant.name} has expired at {date(expires)}", address)
        return found.grant.caller(address, "token")

    def _by_ticket(self, ticket: str, address: str) -> Caller:
        caller = self._tickets.use(ticket, self._seconds())
        if caller is None:
            raise self._failure("the ticket is not known, was used, or is older than a minute", address)
        return caller

    def _peer(self, request: Request, address: str) -> Caller | None:
        """Whom the connection itself makes known; found out once, and again when the file has changed."""
        channel = request.channel
        if self._subjects is None or channel is None:
            return None
        grants = self._subjects.current()
        known = getattr(channel, "peer", None)
        if known is None or known[0] != self._subjects.generation:
            names, by = rolefile.subjects(channel.transport)
            subject = next((each for each in grants if each in names), None)
            caller = None if subject is None else grants[subject].caller(address, by)
            known = channel.peer = (self._subjects.generation, caller)
        caller = known[1]
        assert caller is None or isinstance(caller, Caller)
        return caller

    def _failure(self, why: str, address: str) -> CallerError:
        self.failed += 1
        if not self._failures.admits(address, self._seconds()):
            self.limited += 1
            return TooManyFailures("too many requests from here showed what is not good: try again later")
        self.log.warn(
            "Refused {address}: {why} ({failed} refused so far)",
            address=address or "a local peer",
            why=why,
            failed=self.failed,
        )
        return Unauthenticated(why, invalid=True)


def _own_token(fields: dict[bytes, bytes]) -> bytes:
    """The token in a place that is for nothing else, b"" where there is none."""
    token = fields.get(HEADER)
    if token is not None:
        return token.strip() or b"-"
    for protocol in fields.get(b"sec-websocket-protocol", b"").split(b","):
        if protocol.strip().startswith(SUBPROTOCOL):
            return protocol.strip()[len(SUBPROTOCOL) :] or b"-"
    return b""


def _take_ticket(request: Request) -> str:
    """The ticket in the query of ``request``, out of which it is taken; "" where there is none."""
    if b"ticket=" not in request.uri or request.method != b"GET":
        return ""
    path, _, query = request.uri.partition(b"?")
    parts = query.split(b"&")
    tickets = [part[len(b"ticket=") :] for part in parts if part.startswith(b"ticket=")]
    if not tickets:
        return ""
    rest = b"&".join(part for part in parts if not part.startswith(b"ticket="))
    request.uri = path + (b"?" + rest if rest else b"")
    return unquote_to_bytes(tickets[0]).decode("latin-1") or "-"


def withhold(request: Request, name: bytes) -> None:
    """Take a header out of ``request``: nobody behind us gets to see it. :param name: in lower case."""
    if name not in request.fields:
        return
    if "fields" in vars(request):
        # Copies: a client that sends the same header again gets the same values again, and they are not ours to alter.
        request.fields = {each: value for each, value in request.fields.items() if each != name}
        request.fields_raw = [pair for pair in request.fields_raw if pair[0].lower() != name]
    # twisted.web's requests make theirs anew of this table whenever they are read.
    request.requestHeaders.removeHeader(name)
