"""go-micro's streams over its HTTP transport: whole HTTP messages either way on one connection.

:source: ``server/rpc_stream.go``, ``client/rpc_stream.go`` and ``transport/http_transport.go`` of
    micro/go-micro@v1.0.0, @v1.18.0, @v6.10.0
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.errors import ServiceFault
from sidecar.model import Call
from sidecar.wire import headers
from sidecar.wire.mucp import jsonrpc

#: What both sides say when they have said everything.
EOS = "EOS"


class Writer:
    """Writes one stream's requests: the opening, each message, the end."""

    def __init__(self, address: str, call: Call, id: str) -> None:
        """:param address: ``host:port`` of the node. :param id: unique among all streams of this process.

        :raises BadRequest: metadata that no header can hold.
        """
        pairs = [
            ("Service", call.service),
            ("Method", call.method),
            ("Endpoint", call.method),
            ("Id", id),
            ("Stream", id),
        ]
        named = "".join(f"{prefix}Micro-{name}: {value}\r\n" for name, value in pairs for prefix in ("", "X-"))
        self._head = (
            f"POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: {jsonrpc.JSON_RPC}\r\n"
            f"Accept: {jsonrpc.JSON_RPC}\r\n{named}"
        ).encode() + headers.of_call(call)
        self._opening = jsonrpc.opening(call.method)

    def message(self, payload: bytes) -> bytes:
        """One message. :param payload: one JSON value."""
        return self._whole(self._opening + payload + jsonrpc.closing(b"1"), b"")

    def begin(self) -> bytes:
        """The opening. Its envelope has to be whole and is thrown away."""
        return self.message(b"{}")

    def end(self) -> bytes:
        """Nothing more will come from us. Understood from v1.9 on; before, a stream ends with its connection."""
        return self._whole(b"", b"Micro-Error: EOS\r\nX-Micro-Error: EOS\r\n")

    def _whole(self, body: bytes, more: bytes) -> bytes:
        return self._head + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def read(status: int, fields: Mapping[str, str], body: bytes) -> bytes | None:
    """Read one response. :param fields: headers, names in lower case.

    :returns: the message, or None at the end of the stream.
    :raises ServiceFault: the service ended it with an error. :raises BadAnswer: it cannot be read.
    """
    if status != 200:
        raise jsonrpc.refused(status, body)

    def header(name: bytes) -> bytes | None:
        value = fields.get(name.decode("latin-1"))
        return None if value is None else value.encode("latin-1")

    if header(b"micro-error") == EOS.encode():
        return None
    try:
        return jsonrpc.result(body, b"1", header)[0]
    except ServiceFault as error:
        if error.fault.code == 0 and error.fault.detail == EOS:
            return None
        raise
