"""Whole HTTP/1.1 requests that come one after the other on a connection, without an answer to each."""

from __future__ import annotations

from collections.abc import Callable

import httptools

from sidecar.net.errors import MalformedAnswer


class WholeRequests:
    """Cuts them from the bytes that come."""

    def __init__(self, received: Callable[[dict[str, str], bytes], None], max_body: int) -> None:
        """:param received: told of each. :param max_body: bytes of the largest body to take."""
        self._received = received
        self._max_body = max_body
        self._parser = httptools.HttpRequestParser(self)
        self._fields: dict[str, str] = {}
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        """:raises MalformedAnswer: this is no HTTP, or too large."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise MalformedAnswer(f"no HTTP request: {error.__context__ or error}") from None

    # --- httptools' side ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._fields, self._body = {}, bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._max_body:
            raise ValueError(f"a message is over the limit of {self._max_body} bytes")

    def on_message_complete(self) -> None:
        self._received(self._fields, bytes(self._body))
