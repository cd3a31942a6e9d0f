"""One check of the app: a GET that has to be answered well, and completely, in time."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote, urlsplit, urlunsplit

from twisted.internet import defer
from twisted.internet.defer import Deferred

from sidecar.health.threshold import CheckResult
from sidecar.net.client.fetcher import Fetcher
from sidecar.net.errors import RequestFailed
from sidecar.redaction import redacted

#: Bytes of a health page. Whoever answers more has not understood the question.
MAX_PAGE = 1024 * 1024


class Probe:
    """Asks a URL. Any 2xx is healthy; redirects are not followed and are not healthy."""

    def __init__(self, agent: Fetcher, url: str, timeout: float) -> None:
        """:param timeout: seconds for connecting, the headers and the whole body."""
        self._agent = agent
        self._url, self._headers = _without_login(url)
        #: For messages, which other people read.
        self._shown = redacted(url)
        self._timeout = timeout

    def check(self) -> Deferred[CheckResult]:
        return Deferred.fromCoroutine(self._check())

    async def _check(self) -> CheckResult:
        try:
            answer = await self._agent.request(
                "GET", self._url, self._headers, timeout=self._timeout, max_body=MAX_PAGE
            )
        except defer.CancelledError:
            raise
        except RequestFailed as problem:
            return CheckResult(False, str(problem))
        except Exception as problem:
            # An HTTP client fails in more ways than can be listed; each of them means that the app did not answer.
            return CheckResult(False, f"{self._shown}: {type(problem).__name__}: {problem}")
        if 200 <= answer.status < 300:
            return CheckResult(True, f"{self._shown} answered {answer.status}", answer.status)
        return CheckResult(False, f"{self._shown} answered {answer.status}", answer.status)


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """:returns: the URL without user and password, and the header that says them."""
    split = urlsplit(url)
    login, at, where = split.netloc.rpartition("@")
    if not at:
        return url, {}
    user, _, password = login.partition(":")
    basic = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return urlunsplit((split.scheme, where, split.path, split.query, split.fragment)), {
        "Authorization": f"Basic {basic}"
    }
