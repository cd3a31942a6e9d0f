"""One request at a time to a sidecar, over the standard library's HTTP client: the quickest to import."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from sidecar.cli.connecting import HttpConnection, HttpsConnection
from sidecar.cli.exits import FAULT, NOT_FOUND, TIMED_OUT, UNAVAILABLE, USAGE
from sidecar.redaction import redacted

#: Bytes of the largest answer to read.
MAX_ANSWER = 256 * 1024 * 1024
#: Seconds in which a stream of events shows at least one sign of life.
HEARTBEATS = 60.0
#: Seconds of waiting after which a terminal is told of it.
_SILENCE = 1.0


#: Who speaks in an error JSON that is the sidecar's own, not a service's.
_OURS = ("go.micro.sidecar", "go.micro.rpc", "go.micro.api", "go.micro.client")
#: What an error status of the sidecar means for a script.
_CODES = {404: NOT_FOUND, 408: TIMED_OUT, 504: TIMED_OUT, 502: UNAVAILABLE, 503: UNAVAILABLE}


class Failed(Exception):
    """The request did not get what it asked for.

    :ivar body: the error JSON that the sidecar answered, "" where there was no answer.
    :ivar code: the exit code for it. :ivar receipt: how a call went, JSON text, "" where none came.
    """

    def __init__(self, text: str, body: str = "", code: int = FAULT, receipt: str = "") -> None:
        super().__init__(text)
        self.body = body
        self.code = code
        self.receipt = receipt


@dataclass(frozen=True)
class ApiAnswer:
    """A good answer. :ivar headers: by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Trust:
    """Whom to believe on https, and who we are. :ivar insecure: believe anybody."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """:raises Failed: a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file or None)
        except (OSError, ssl.SSLError) as error:
            raise Failed(f"the certificates cannot be used: {error.strerror or error}", code=USAGE) from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Api:
    """A sidecar somewhere."""

    def __init__(self, address: str, trust: Trust, timeout: float, token: str = "") -> None:
        """:param address: ``host:port``, ``http(s)://host:port[/path]`` or ``unix:/path``.
        :param timeout: seconds to wait for each answer. :param token: what to show to the sidecar, "" for nothing.
        :raises Failed: there can be no such address."""
        #: The headers that say who we are.
        self.credentials: Mapping[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
        #: For messages, without what may be secret in it.
        self.address = redacted(address)
        self.trust = trust
        self._timeout = timeout
        self.unix = address[len("unix:") :] if address.startswith("unix:") else ""
        url = "http://localhost" if self.unix else address if "://" in address else f"http://{address}"
        try:
            split = urlsplit(url)
            self.secure = split.scheme == "https"
            self.host, self.port = split.hostname or "", split.port or (443 if self.secure else 80)
        except ValueError:
            raise Failed(f"--proxy_address={self.address}: write host:port or https://host:port", code=USAGE) from None
        if split.scheme not in ("http", "https") or not self.host:
            raise Failed(f"--proxy_address={self.address}: write host:port or https://host:port", code=USAGE)
        self.path = split.path.rstrip("/")

    def patience(self, seconds: float) -> None:
        """Wait longer for answers, by this many seconds."""
        self._timeout += seconds

    def registry(self, service: str | None = None) -> Any:
        """:returns: the names of all services, or a service, one object a version."""
        where = "/registry" if service is None else f"/registry?service={quote(service, safe='')}&format=array"
        return self.read_json("GET", where)

    def rpc(self, service: str, method: str, request: str, address: str | None = None) -> str:
        """:param request: JSON text. :returns: JSON text, as the service wrote it."""
        return self.call({"service": service, "method": method, "request": request}, address).text

    def call(
        self, call: dict[str, str], address: str | None = None, headers: Mapping[str, str] | None = None
    ) -> ApiAnswer:
        """:param call: the members of the body. :raises Failed: it failed; with the receipt, if one was asked for."""
        if address is not None:
            call = {**call, "address": address}
        body = json.dumps(call).encode()
        return self.request("POST", "/rpc", body, {"Content-Type": "application/json", **(headers or {})})

    def read_json(self, method: str, where: str) -> Any:
        body = self.ask(method, where)
        try:
            return json.loads(body)
        except ValueError:
            raise Failed(f"{self.address} answered what is not JSON; is it a sidecar?") from None

    def ask(self, method: str, where: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> str:
        """:returns: the body of a good answer. :raises Failed: there was none."""
        return self.request(method, where, body, headers).text

    def request(
        self, method: str, where: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> ApiAnswer:
        """:param where: path and query. :raises Failed: there was no good answer."""
        connection = self._connection()
        waiting = threading.Timer(_SILENCE, self._say_that_it_waits)
        waiting.daemon = True
        waiting.start()
        try:
            answer = self._sent(connection, method, where, body, headers)
            with self._explained(where):
                text = answer.read(MAX_ANSWER).decode("utf-8", "replace")
        finally:
            waiting.cancel()
            connection.close()
        return self._judged(answer, text)

    def _say_that_it_waits(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"micro: waiting for the sidecar at {self.address}, {self._timeout:g} s at most\n")
            sys.stderr.flush()

    @contextmanager
    def stream(self, where: str, headers: Mapping[str, str] | None = None) -> Iterator[Iterator[bytes]]:
        """A GET whose answer comes line by line for as long as it is read. :raises Failed: there was no good answer."""
        connection = self._connection(patient=True)
        try:
            asked = {"Accept": "text/event-stream", **(headers or {})}
            answer = self._sent(connection, "GET", where, None, asked)
            if answer.status != 200:
                self._judged(answer, answer.read(MAX_ANSWER).decode("utf-8", "replace"))
            yield self._lines(answer, where)
        finally:
            connection.close()

    def _lines(self, answer: http.client.HTTPResponse, where: str) -> Iterator[bytes]:
        while True:
            with self._explained(where):
                line = answer.readline(MAX_ANSWER)
            if not line:
                return
            yield line

    def _sent(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        where: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> http.client.HTTPResponse:
        with self._explained(where):
            connection.request(method, self.path + where, body, {**self.credentials, **(headers or {})})
            return connection.getresponse()

    @contextmanager
    def _explained(self, where: str) -> Iterator[None]:
        """Say in words what keeps a request from being answered."""
        try:
            yield
        except UnicodeError:
            raise Failed(f"{where!r} cannot be asked for: it is no text in UTF-8", code=USAGE) from None
        except TimeoutError:
            raise Failed(
                f"the sidecar at {self.address} did not answer within {self._timeout:g} s", code=TIMED_OUT
            ) from None
        except ssl.SSLCertVerificationError as error:
            # OpenSSL's own reason ("self-signed certificate", "Missing Authority Key Identifier"): since Python 3.13 it
            # is stricter, and its number alone says nothing.
            raise Failed(
                f"{self.address} shows a certificate that is not trusted: {error.verify_message};"
                " see --ca_file and --insecure",
                code=UNAVAILABLE,
            ) from None
        except ssl.SSLError as error:
            raise Failed(
                f"no TLS with {self.address}: {error.reason or error}; see --ca_file and --insecure", code=UNAVAILABLE
            ) from None
        except (OSError, http.client.HTTPException) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise Failed(
                f"cannot reach a sidecar at {self.address}: {why}; "
                "start one by `micro sidecar`, or see --proxy_address",
                code=UNAVAILABLE,
            ) from None

    def _judged(self, answer: http.client.HTTPResponse, text: str) -> ApiAnswer:
        headers = {name.lower(): value for name, value in answer.getheaders()}
        if 200 <= answer.status < 300:
            return ApiAnswer(answer.status, headers, text)
        said = _explained(answer.status, answer.reason, text)
        receipt = headers.get("micro-receipt", "")
        raise Failed(said, text, _exit_code(answer.status, text), receipt)

    def _connection(self, patient: bool = False) -> http.client.HTTPConnection:
        """:param patient: whether the answer may take for ever to end (heartbeats come meanwhile)."""
        timeout = max(self._timeout, HEARTBEATS) if patient else self._timeout
        if self.unix:
            return _UnixConnection(self.unix, timeout)
        if self.secure:
            return HttpsConnection(self.host, self.port, timeout=timeout, context=self.trust.context())
        return HttpConnection(self.host, self.port, timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._socket_path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


def _explained(status: int, reason: str, text: str) -> str:
    """The detail of an error answer, with its status."""
    try:
        detail = json.loads(text)["detail"]
    except (ValueError, TypeError, KeyError):
        detail = text.strip()[:500]
    said = f"{status} {reason}".strip()
    return f"{detail} ({said})" if detail else said


def _exit_code(status: int, text: str) -> int:
    """:returns: the exit code for an error answer: a service's own error is that, whatever its status says."""
    try:
        speaker = json.loads(text).get("id", "")
    except (ValueError, AttributeError):
        speaker = ""
    if speaker and speaker not in _OURS:
        return FAULT
    return _CODES.get(status, FAULT)
