"""Has an app say which endpoints it offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sidecar.errors import ConfigError
from sidecar.model import Endpoint
from sidecar.net.errors import InvalidSetting
from sidecar.redaction import redacted
from sidecar.wire.endpoints import document
from sidecar.wire.fields import RegistrationLimits

#: Seconds that the app may take.
PATIENCE = 5.0


def asker(url: str, ca_file: str, most: int, reactor: Any) -> Callable[[], Deferred[tuple[Endpoint, ...]]]:
    """:param ca_file: authorities to trust where the URL is https, "" for the system's. :param most: endpoints.
    :returns: asks, and fails with what is wrong in words. :raises ConfigError: the file is no good."""
    # Imported here: the HTTP client for cold paths costs a tenth of a second at start.
    from sidecar.net.client.fetcher import Fetcher
    from sidecar.net.client.tls import TrustOptions

    try:
        fetcher = Fetcher(reactor, PATIENCE, tls=TrustOptions(ca_file))
    except InvalidSetting as error:
        raise ConfigError(f"--healthcheck_ca_file={ca_file}: {error}") from error

    async def ask() -> tuple[Endpoint, ...]:
        answer = await fetcher.request("GET", url, {"Accept": "application/json"})
        fetcher.close()  # some servers serve one connection at a time
        if answer.status != 200:
            raise ValueError(f"{redacted(url)} answered {answer.status}")
        try:
            return document.read(answer.body, RegistrationLimits(endpoints=most))
        except ValueError as error:
            raise ValueError(f"{redacted(url)}: {error}") from None

    return lambda: Deferred.fromCoroutine(ask())
