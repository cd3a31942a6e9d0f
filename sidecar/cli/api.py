"""One request at a time to a sidecar, over the standard library's HTTP client: the quickest to import."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

#: Bytes of the largest answer to read.
MAX_ANSWER = 256 * 1024 * 1024


class Failed(Exception):
    """The request did not get what it asked for.

    :ivar body: the error JSON that the sidecar answered, "" where there was no answer.
    """

    def __init__(self, text: str, body: str = "") -> None:
        super().__init__(text)
        self.body = body


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
            raise Failed(f"the certificates cannot be used: {error.strerror or error}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Api:
    """A sidecar somewhere."""

    def __init__(self, address: str, trust: Trust, timeout: float) -> None:
        """:param address: ``host:port``, ``http(s)://host:port[/path]`` or ``unix:/path``.
        :param timeout: seconds to wait for each answer. :raises Failed: there can be no such address."""
        self.address = address
        self.trust = trust
        self._timeout = timeout
        self.unix = address[len("unix:") :] if address.startswith("unix:") else ""
        url = "http://localhost" if self.unix else address if "://" in address else f"http://{address}"
        try:
            split = urlsplit(url)
            self.secure = split.scheme == "https"
            self.host, self.port = split.hostname or "", split.port or (443 if self.secure else 80)
        except ValueError:
            raise Failed(f"--proxy_address={address}: write host:port or https://host:port") from None
        if split.scheme not in ("http", "https") or not self.host:
            raise Failed(f"--proxy_address={address}: write host:port or https://host:port")
        self.path = split.path.rstrip("/")

    def registry(self, service: str | None = None) -> Any:
        """:returns: the names of all services, or a service, one object a version."""
        where = "/registry" if service is None else f"/registry?service={quote(service, safe='')}&format=array"
        return self._read_json("GET", where)

    def rpc(self, service: str, method: str, request: str, address: str | None = None) -> str:
        """:param request: JSON text. :returns: JSON text, as the service wrote it."""
        call = {"service": service, "method": method, "request": request}
        if address is not None:
            call["address"] = address
        return self.ask("POST", "/rpc", json.dumps(call).encode(), {"Content-Type": "application/json"})

    def _read_json(self, method: str, where: str) -> Any:
        body = self.ask(method, where)
        try:
            return json.loads(body)
        except ValueError:
            raise Failed(f"{self.address} answered what is not JSON; is it a sidecar?") from None

    def ask(self, method: str, where: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> str:
        """:returns: the body of a good answer. :raises Failed: there was none."""
        connection = self._connection()
        try:
            connection.request(method, self.path + where, body, dict(headers or {}))
            answer = connection.getresponse()
            text = answer.read(MAX_ANSWER).decode("utf-8", "replace")
        except TimeoutError:
            raise Failed(f"the sidecar at {self.address} did not answer within {self._timeout:g} s") from None
        except ssl.SSLError as error:
            raise Failed(f"no TLS with {self.address}: {error.reason or error}; see --ca_file and --insecure") from None
        except (OSError, http.client.HTTPException) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise Failed(
                f"cannot reach a sidecar at {self.address}: {why}; start one by `micro sidecar`, or see --proxy_address"
            ) from None
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise Failed(_explained(answer.status, answer.reason, text), text)
        return text

    def _connection(self) -> http.client.HTTPConnection:
        if self.unix:
            return _UnixConnection(self.unix, self._timeout)
        if self.secure:
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=self._timeout, context=self.trust.context()
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=self._timeout)


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
