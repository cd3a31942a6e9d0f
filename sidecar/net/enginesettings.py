"""What is said of an engine's servers by flags: their addresses, read strictly, and who we are to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from sidecar.net.errors import InvalidSetting

#: What an address without a path may end in.
NO_PATH: Final = ("", "/")


class EngineOptions(Protocol):
    """What is asked of whoever wants a connection; the names are those of the flags."""

    @property
    def reactor(self) -> Any: ...
    @property
    def addresses(self) -> Sequence[str]: ...
    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def token(self) -> str: ...
    @property
    def credentials_file(self) -> str: ...
    @property
    def tls(self) -> bool: ...
    @property
    def ca_file(self) -> str: ...
    @property
    def cert_file(self) -> str: ...
    @property
    def key_file(self) -> str: ...


@frozen
class EngineUrl:
    """An address that was given, in its parts.

    :ivar host: a name or an IP literal without brackets. :ivar port: None where it says none.
    :ivar path: as it was given, escapes and all.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    username: str
    password: str = field(repr=False)


def read_url(engine: str, text: str, schemes: tuple[str, str], usual: int) -> EngineUrl:
    """Read ``host``, ``host:port`` or a URL, each with ``user:secret@`` or without.

    :param engine: its name, for messages. :param schemes: the one without TLS, which holds where none is given, and the
        one with it.
    :param usual: the engine's own port, for messages.
    :raises InvalidSetting: it is none of these; a password in it is not shown.
    """
    shown = without_secret(text)
    try:
        parts = urlsplit(text if "://" in text else f"{schemes[0]}://{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidSetting(f"{engine} address {shown!r}: {error}; give host:port") from None
    if parts.scheme not in schemes:
        spoken = " or ".join(f"{scheme}://" for scheme in schemes)
        raise InvalidSetting(f"{engine} address {shown!r}: {parts.scheme}:// is not spoken here; use {spoken}")
    if not host or parts.query or parts.fragment:
        raise no_address(engine, text, usual)
    if port == 0:
        raise InvalidSetting(f"{engine} address {shown!r}: 0 is not a port to connect to")
    return EngineUrl(parts.scheme, host, port, parts.path, unquote(parts.username or ""), unquote(parts.password or ""))


def no_address(engine: str, text: str, usual: int) -> InvalidSetting:
    """What to raise for a ``text`` that is no address of ``engine``."""
    return InvalidSetting(f"{engine} address {without_secret(text)!r} is not host:port, such as 127.0.0.1:{usual}")


def without_secret(text: str) -> str:
    """An address without what stands before an ``@``, which may be a password."""
    return text.rpartition("@")[2]
