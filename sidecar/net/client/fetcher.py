"""HTTP requests off the hot path (probes, registries): one deadline over everything, bodies capped as they come."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar, cast

from attrs import define, field, frozen
from treq.client import HTTPClient
from twisted.internet import defer, interfaces
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web import client
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from sidecar.net.client import urls
from sidecar.net.client.addressrules import AddressRules
from sidecar.net.client.endpoints import ClientEndpoints
from sidecar.net.client.tls import TrustOptions, TrustPolicy
from sidecar.net.errors import RequestFailed, RequestTimeout
from sidecar.redaction import redacted

#: Seconds that an idle connection is kept.
_IDLE_SECONDS = 20

#: What treq is given in place of the URL. See ``_Directed``.
_ANYWHERE = "http://directed.invalid/"

T = TypeVar("T")


def excerpt(body: bytes) -> str:
    """The beginning of an error's body on one line, for a message."""
    return " ".join(body[:300].decode("utf-8", "replace").split())


@frozen
class Response:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header, "" where it is absent."""
        return (self.headers.getRawHeaders(name) or [""])[0]


@define(eq=False)
class Fetcher:
    """Makes requests for cold paths.

    :ivar timeout: seconds for connecting, headers and body together, unless a request says otherwise.
    :ivar max_body: bytes of the largest body to take.
    :ivar tls: whom to trust on ``https`` URLs; None is the system's trust.
    :ivar idle: connections kept open a host for the next request.
    :ivar agent: makes the connections in place of our own, None for our own.
    :ivar rules: judge the addresses of hosts that others name; None where the operator names them.
    """

    _reactor: Any
    timeout: float = 5.0
    max_body: int = 4 * 1024 * 1024
    tls: TrustOptions | None = None
    idle: int = 4
    agent: IAgent | None = None
    rules: AddressRules | None = None
    _pool: client.HTTPConnectionPool = field(init=False)
    _http: IAgent = field(init=False)
    _cookies: CookieJar = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = client.HTTPConnectionPool(self._reactor, persistent=True)
        self._pool.maxPersistentPerHost = self.idle
        self._pool.cachedConnectionTimeout = _IDLE_SECONDS
        agent = self.agent
        if agent is None:
            endpoints = ClientEndpoints(self._reactor, TrustPolicy(self.tls or TrustOptions()), self.rules)
            agent = client.Agent.usingEndpointFactory(self._reactor, endpoints, self._pool)
        self._http = agent
        # Nothing that we talk to keeps a session, so no cookie is taken.
        self._cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
        max_body: int | None = None,
    ) -> Response:
        """Ask and read the whole answer, of whatever status. Redirects are not followed.

        :param timeout: seconds for everything, from now.
        :raises RequestTimeout: they passed. :raises RequestFailed: no whole answer came, or one too large.
        """
        cap = self.max_body if max_body is None else max_body
        limit = self.timeout if timeout is None else timeout
        return await self._within(limit, f"{method} {redacted(url)}", self._whole(method, url, headers, body, cap))

    async def stream(
        self,
        method: str,
        url: str,
        receive: Callable[[bytes], None],
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
    ) -> None:
        """Ask, and hand on the answer as it comes, until the server ends it.

        Cancelling closes the connection. So does an exception of ``receive``, which is raised on.

        :param timeout: seconds until the headers have come; what follows may take for ever.
        :raises RequestTimeout: they have not. :raises RequestFailed: the status is not 2xx, or the connection broke.
        """
        what = f"{method} {redacted(url)}"
        limit = self.timeout if timeout is None else timeout
        response = await self._within(limit, what, self._open(method, url, headers, body))
        if not 200 <= response.code < 300:
            said = await self._within(limit, what, _collect(response, self.max_body, what))
            raise RequestFailed(f"{what}: answered {response.code}: {excerpt(said)}")
        await _Body(receive, what).of(response)

    def close(self) -> defer.Deferred[None]:
        """Close the idle connections. :returns: fires when they are closed."""
        closing: defer.Deferred[None] = self._pool.closeCachedConnections()
        return closing

    # --- One request ------------------------------------------------------------------------------------------------

    async def _whole(self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes, cap: int) -> Response:
        response = await self._open(method, url, headers, body)
        return Response(response.code, response.headers, await _collect(response, cap, f"{method} {redacted(url)}"))

    async def _open(self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes) -> IResponse:
        # What comes of cancelling depends on how far it got (a failed lookup, an aborted connection): ask for it here.
        cancelled = False

        def cancel(_: object) -> None:
            nonlocal cancelled
            cancelled = True
            asking.cancel()

        answered: defer.Deferred[Any] = defer.Deferred(cancel)
        try:
            target = urls.parse(url)
            agent = _Directed(self._http, target.absolute)
            asking: defer.Deferred[Any] = HTTPClient(agent, self._cookies).request(  # type: ignore[arg-type]  # annotated as treq's own subclass, used as a CookieJar
                method,
                _ANYWHERE,
                headers=Headers({name: [value] for name, value in (headers or {}).items()}),
                data=_Bytes(body) if body or method in ("POST", "PUT") else None,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            asking.addCallbacks(answered.callback, answered.errback)
            return cast(IResponse, await answered)
        except Exception as error:
            if cancelled:
                raise defer.CancelledError from None
            # Connecting, TLS and HTTP fail in dozens of ways; to our callers they are one, told in words.
            raise RequestFailed(f"{method} {redacted(url)}: {_words(error)}") from error

    def _within(self, seconds: float, what: str, work: Coroutine[Any, Any, T]) -> defer.Deferred[T]:
        def late(result: T | Failure, limit: float) -> T:
            if isinstance(result, Failure):
                raise RequestTimeout(f"{what}: no answer within {limit:g} s")
            return result

        return defer.Deferred.fromCoroutine(work).addTimeout(seconds, self._reactor, onTimeoutCancel=late)


async def _collect(response: IResponse, cap: int, what: str) -> bytes:
    chunks: list[bytes] = []
    size = 0

    def receive(chunk: bytes) -> None:
        nonlocal size
        size += len(chunk)
        if size > cap:
            raise RequestFailed(f"{what}: the answer is larger than {cap} bytes")
        chunks.append(chunk)

    await _Body(receive, what).of(response)
    return b"".join(chunks)


class _Body(Protocol):
    """Hands a body on as it comes. Cancelled, or at an exception of the receiver, it closes the connection."""

    def __init__(self, receive: Callable[[bytes], None], what: str) -> None:
        self._receive = receive
        self._what = what
        self._done: defer.Deferred[None] = defer.Deferred(self._cancelled)

    def of(self, response: IResponse) -> defer.Deferred[None]:
        response.deliverBody(self)
        return self._done

    def dataReceived(self, data: bytes) -> None:
        if self._done.called:
            return
        try:
            self._receive(data)
        except Exception:
            # Whoever awaits the body gets to know; what else comes of it is of no use.
            self._done.errback(Failure())
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._done.called:
            return
        if reason.check(client.ResponseDone, PotentialDataLoss):
            self._done.callback(None)
        else:
            self._done.errback(RequestFailed(f"{self._what}: the answer broke off: {_words(reason.value)}"))

    def _cancelled(self, done: defer.Deferred[None]) -> None:
        done.errback(defer.CancelledError())
        self._close()

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IBodyProducer)
class _Bytes:
    """A body that is there already. (treq's own producer would take the global reactor's cooperator.)"""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: interfaces.IConsumer) -> defer.Deferred[None]:
        consumer.write(self._body)
        return defer.succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


@implementer(IAgent)
@define
class _Directed:
    """Asks for one URL, whatever treq makes of the one that it was given: it refuses hosts that can be reached.

    It does not ask for compression, which treq would: over loopback it only costs, and small bytes may be bombs.
    """

    _agent: IAgent
    _url: bytes

    def request(self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None) -> Any:
        if headers is not None:
            headers.removeHeader(b"accept-encoding")
        return self._agent.request(method, self._url, headers, bodyProducer)


# --- Words ----------------------------------------------------------------------------------------------------------


def _words(error: BaseException | None) -> str:
    """What happened, without the nesting and the names of classes that HTTP clients wrap it in."""
    reasons = [reason.value for reason in getattr(error, "reasons", ()) if isinstance(reason, Failure)]
    if reasons:
        return _words(reasons[0])
    return " ".join(str(error).split())[:300] or type(error).__name__
