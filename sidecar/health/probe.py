"""One check of the app: a GET that has to be answered well, and completely, in time."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote, urlsplit, urlunsplit

from attrs import frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred

from sidecar.health.threshold import CheckResult
from sidecar.net.client.fetcher import Fetcher, Response
from sidecar.net.errors import RequestFailed
from sidecar.redaction import redacted

#: Bytes of a health page. Whoever answers more has not understood the question.
MAX_PAGE = 1024 * 1024


@frozen
class Expected:
    """What a healthy answer is.

    :ivar status: one of these; any 2xx where there are none. :ivar body: is in its body.
    :ivar header: it has these, names and values.
    """

    status: tuple[int, ...] = ()
    body: str = ""
    header: tuple[tuple[str, str], ...] = ()

    def lacks(self, answer: Response) -> str:
        """:returns: what an answer lacks, in words; "" where it is as expected."""
        if answer.status not in self.status and (self.status or not 200 <= answer.status < 300):
            return f", not {' or '.join(map(str, self.status))}" if self.status else " "
        for name, value in self.header:
            if value not in (answer.headers.getRawHeaders(name) or []):
                return f", without {name}: {value}"
        if self.body and self.body not in answer.body.decode("utf-8", "replace"):
            return f", and its body has not {self.body!r} in it"
        return ""


class Probe:
    """Asks a URL. Any 2xx is healthy, or what is expected; redirects are not followed and are not healthy."""

    def __init__(self, agent: Fetcher, url: str, timeout: float, expected: Expected | None = None) -> None:
        """:param timeout: seconds for connecting, the headers and the whole body."""
        self._expected = expected or Expected()
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
        lacks = self._expected.lacks(answer)
        # An answer that is good but not the one that was expected is none to pass on as our own.
        status = answer.status if not lacks or answer.status >= 400 else None
        return CheckResult(not lacks, f"{self._shown} answered {answer.status}{lacks.rstrip()}", status)


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
