"""Where NATS servers are and how we show who we are: checked before we connect, handed to nats-py as it likes it.

Credentials are given out by functions that look first whether TLS is on, where TLS was asked for: a server (or one who
stands in its way) that offers plain text gets none.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import field, frozen

from sidecar.net.enginesettings import NO_PATH, EngineOptions, no_address, read_url
from sidecar.net.errors import InvalidSetting

DEFAULT_PORT = 4222


class _NotedContext(ssl.SSLContext):
    """A TLS context that remembers being used: how a caller of nats-py learns that its connection is encrypted."""

    used = False

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        self.used = True
        return super().wrap_bio(*args, **kwargs)


@frozen
class NatsAddress:
    """One server. :ivar scheme: ``nats`` or ``tls``. :ivar host: a name or an IP literal without brackets."""

    host: str
    port: int = DEFAULT_PORT
    scheme: str = "nats"
    username: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self}"


def parse_address(text: str) -> NatsAddress:
    """Read ``host``, ``host:port`` or a ``nats://`` or ``tls://`` URL.

    :raises InvalidSetting: it is none of these.
    """
    url = read_url("NATS", text, ("nats", "tls"), DEFAULT_PORT)
    if url.path not in NO_PATH:
        raise no_address("NATS", text, DEFAULT_PORT)
    return NatsAddress(url.host, url.port or DEFAULT_PORT, url.scheme, url.username, url.password)


def require_library() -> None:
    """:raises InvalidSetting: nats-py or its keys are not installed."""
    try:
        missing = [name for name in ("nats", "nkeys") if find_spec(name) is None]
    except ValueError:  # what find_spec says of a module that was put out of reach
        missing = ["nats"]
    if missing:
        raise InvalidSetting(
            "the NATS library is not installed; install it by: pip install 'nats-py[nkeys]>=2.16'"
            " (or install the sidecar with it: the extra is microsidecar[nats])"
        )


@frozen
class NatsServers:
    """The NATS servers to connect to, and what each of them is shown of us.

    :ivar options: what the flags say of credentials and TLS: the credentials file is a ``.creds`` file (JWT and seed)
        or holds an nkey seed; ``tls`` refuses servers without TLS, one that asks for TLS gets it in any case.
    :ivar addresses: in the order to try.
    """

    options: EngineOptions
    addresses: tuple[NatsAddress, ...] = (NatsAddress("127.0.0.1"),)

    @classmethod
    def from_options(cls, options: EngineOptions) -> NatsServers:
        """:raises InvalidSetting: nats-py is missing, or an address, a certificate or the credentials are no good."""
        require_library()
        servers = cls(options, tuple(map(parse_address, options.addresses)) or (NatsAddress("127.0.0.1"),))
        servers.context()
        servers.credentials()
        return servers

    def context(self) -> _NotedContext:
        """A fresh TLS context. :raises InvalidSetting: a file of it cannot be used."""
        context = _NotedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.options.ca_file:
                context.load_verify_locations(cafile=self.options.ca_file)
            else:
                context.load_default_certs()
            if self.options.cert_file:
                context.load_cert_chain(self.options.cert_file, self.options.key_file or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(
                name for name in (self.options.ca_file, self.options.cert_file, self.options.key_file) if name
            )
            raise InvalidSetting(f"TLS to NATS: {files}: {error}") from None
        return context

    def credentials(self) -> dict[str, Any]:
        """nats-py's arguments for the credentials file. :raises InvalidSetting: it cannot be used."""
        path = self.options.credentials_file
        if not path:
            return {}
        try:
            text = Path(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSetting(f"NATS credentials file {path}: {error}") from None
        if "BEGIN NATS USER JWT" in text and "BEGIN USER NKEY SEED" in text:
            return {"user_credentials": path}
        if text.strip().startswith("SU") and len(text.split()) == 1:
            return {"nkeys_seed": path}
        raise InvalidSetting(
            f"NATS credentials file {path} holds neither a user JWT with its seed (.creds) nor an "
            "nkey seed (one line that begins with SU)"
        )

    def arguments(self, address: NatsAddress) -> dict[str, Any]:
        """What ``nats.aio.client.Client.connect`` is to be given for ``address``."""
        context = self.context()
        refuse_plain_text = self.options.tls or address.scheme == "tls"

        def guarded(secret: str) -> Callable[[], str] | None:
            def give() -> str:
                if refuse_plain_text and not context.used:
                    raise NoTLS(f"{address} does not offer TLS; no credentials were sent")
                return secret

            return give if secret else None

        user, password, token = self.options.username, self.options.password, self.options.token
        if address.username:
            user, password, token = (
                (address.username, address.password, "") if address.password else ("", "", address.username)
            )
        return {
            "servers": [address.url],
            "tls": context,
            "user": guarded(user),
            "password": guarded(password),
            "token": guarded(token),
            **self.credentials(),
        }

    def satisfied(self, address: NatsAddress, arguments: dict[str, Any]) -> bool:
        """Whether a connection made with ``arguments`` is as private as it was asked to be."""
        return not (self.options.tls or address.scheme == "tls") or bool(arguments["tls"].used)


class NoTLS(OSError):
    """A server that was to be spoken to over TLS offers none."""
