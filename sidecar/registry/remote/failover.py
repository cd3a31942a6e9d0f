"""Talking HTTP to an engine that may have several addresses: each is tried in turn, and failures become one kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from attrs import define
from twisted.internet.interfaces import IReactorTime

from sidecar.errors import ConfigError, EngineUnavailable
from sidecar.net.client.fetcher import Fetcher, Response, excerpt
from sidecar.net.errors import RequestFailed, RequestTimeout
from sidecar.wire.fields import is_host

#: Bytes of the largest answer to take: a catalog of many thousand services is large, and an engine is trusted.
MAX_ANSWER = 64 * 1024 * 1024


class ErrorAnswer(EngineUnavailable):
    """The engine answered, but not what was asked for. :ivar status: what it answered."""

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


def base_urls(kind: str, addresses: Sequence[str], default: str, port: int, tls: bool) -> tuple[str, ...]:
    """Make URLs of what ``--registry_address`` was given.

    :param default: the host where none is given. :param port: the port where none is given.
    :raises ConfigError: naming the address that is none.
    """
    found = []
    for address in addresses or (default,):
        bare = address.strip()
        if bare.count(":") > 1 and "[" not in bare and "//" not in bare:
            bare = f"[{bare}]"
        parts = urlsplit(bare if "//" in bare else f"{'https' if tls else 'http'}://{bare}")
        try:
            host, given = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"registry address {address!r} of {kind}: {error}") from None
        if parts.scheme not in ("http", "https") or not host or not is_host(host):
            raise ConfigError(f"registry address {address!r} of {kind} is not host:port or an http or https URL")
        if parts.path.strip("/") or parts.query or parts.username is not None:
            raise ConfigError(f"registry address of {kind} at {host}: give no more than scheme, host and port")
        scheme = "https" if tls else parts.scheme
        found.append(f"{scheme}://{f'[{host}]' if ':' in host else host}:{given or port}")
    return tuple(found)


def _answered(response: Response) -> bool:
    """Whether the engine itself spoke: 5xx is its trouble (no leader), 429 its limit on connections."""
    return response.status < 500 and response.status != 429


@define(eq=False)
class FailoverClient:
    """Asks an engine that is at one or more base URLs. The one that answered last is asked first."""

    kind: str
    _clock: IReactorTime
    _agent: Fetcher
    _bases: tuple[str, ...]
    _current: int = 0

    @property
    def base(self) -> str:
        return self._bases[self._current]

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout: float,
        accept: Callable[[Response], bool] = _answered,
    ) -> Response:
        """Ask one address after the other until one answers.

        :param timeout: seconds for all of them together.
        :param accept: whether an answer counts as one.
        :raises EngineUnavailable: none did; the message tells each one's reason.
        """
        deadline = self._clock.seconds() + timeout
        share = timeout / len(self._bases)
        reasons: dict[str, None] = {}
        # A lone address gets a second chance: the connection kept from last time may just have been closed.
        for _ in range(max(2, len(self._bases))):
            left = deadline - self._clock.seconds()
            if left <= 0:
                break
            try:
                return await self.ask_once(method, path, headers, body, timeout=min(left, share), accept=accept)
            except EngineUnavailable as error:
                reasons[str(error)] = None
        raise EngineUnavailable(f"{self.kind} cannot be reached: {'; '.join(reasons)}")

    async def ask_once(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout: float,
        accept: Callable[[Response], bool] = _answered,
    ) -> Response:
        """Ask the current address; where that fails the next one is current.

        :raises EngineUnavailable: it did not answer; :class:`ErrorAnswer` where it answered that it cannot.
        """
        asked = self._current
        try:
            response = await self._agent.request(
                method, self.base + path, headers, body, timeout=timeout, max_body=MAX_ANSWER
            )
        except RequestFailed as error:
            self._failed(asked)
            raise EngineUnavailable(str(error)) from error
        if not accept(response):
            self._failed(asked)
            said = excerpt(response.body)
            raise ErrorAnswer(
                f"{method} {self._bases[asked]}{path}: answered {response.status}: {said}", response.status
            )
        return response

    async def stream(
        self, path: str, headers: Mapping[str, str], body: bytes, receive: Callable[[bytes], None], *, timeout: float
    ) -> None:
        """POST to the current address, and hand the answer on as it comes, until it ends.

        :param timeout: seconds until the headers.
        :raises EngineUnavailable: it did not answer, or broke off.
        """
        asked = self._current
        try:
            await self._agent.stream("POST", self.base + path, receive, headers, body, timeout)
        except RequestFailed as error:
            if isinstance(error, RequestTimeout):
                self._failed(asked)
            raise EngineUnavailable(str(error)) from error

    def next_address(self) -> None:
        """Try the next address next time."""
        self._failed(self._current)

    def _failed(self, failed: int) -> None:
        if self._current == failed:
            self._current = (failed + 1) % len(self._bases)
