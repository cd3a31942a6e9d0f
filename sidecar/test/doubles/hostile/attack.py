"""A way to be rude to the daemon, as bytes for a raw socket, and how it is to be turned away."""

from __future__ import annotations

from attrs import frozen

#: What the daemon is told in the test, so that limits are near and patience is short.
MAX_BODY = 64 * 1024
MAX_HEADER = 16 * 1024
FLAGS = (
    "--max_body=64KiB",
    "--header_timeout=1s",
    "--body_timeout=1s",
    "--client_request_timeout=2s",
)

#: Any error that is the caller's.
CALLERS = tuple(range(400, 500))


@frozen
class Attack:
    """Bytes to send.

    :ivar expected: statuses that turn it away clearly. Where 101 is among them, ``codes`` says how it goes on.
    :ivar codes: WebSocket close codes that end it.
    :ivar held: the client goes silent after these bytes: the daemon must lose patience by itself.
    """

    name: str
    data: bytes
    expected: tuple[int, ...] = CALLERS
    codes: tuple[int, ...] = ()
    held: bool = False


def request(
    method: str, target: bytes | str, body: bytes | None = None, headers: dict[str, bytes | str] | None = None
) -> bytes:
    raw = target.encode() if isinstance(target, str) else target
    fields: dict[str, bytes | str] = {"Host": "127.0.0.1", "Connection": "close", **(headers or {})}
    if body is not None and not {"Content-Length", "Transfer-Encoding"} & set(fields):
        fields["Content-Length"] = str(len(body))
    lines = [b"%b %b HTTP/1.1" % (method.encode(), raw)]
    for name, value in fields.items():
        lines.append(b"%b: %b" % (name.encode(), value.encode() if isinstance(value, str) else value))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")
