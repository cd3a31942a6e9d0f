"""Where Redis servers are and how we show who we are: checked before we connect, handed to redis-py as it likes it."""

from __future__ import annotations

import ssl
from importlib.util import find_spec
from typing import Any

from attrs import field, frozen

from sidecar.net.enginesettings import EngineOptions, no_address, read_url
from sidecar.net.errors import InvalidSetting

DEFAULT_PORT = 6379


@frozen
class RedisAddress:
    """One server. :ivar host: a name or an IP literal without brackets. :ivar tls: whether TLS is asked for."""

    host: str
    port: int = DEFAULT_PORT
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, tls: bool = False) -> RedisAddress:
    """Read ``host``, ``host:port``, ``user:secret@host:port``, or a ``redis://`` or ``rediss://`` URL.

    :param tls: whether TLS is asked for in any case.
    :raises InvalidSetting: it is none of these.
    """
    url = read_url("Redis", text, ("redis", "rediss"), DEFAULT_PORT)
    # A number of a database may stand there, as in redis://host/0; messages know none.
    database = url.path.strip("/")
    if database and not database.isdecimal():
        raise no_address("Redis", text, DEFAULT_PORT)
    secure = tls or url.scheme == "rediss"
    return RedisAddress(url.host, url.port or DEFAULT_PORT, secure, url.username, url.password)


@frozen
class RedisAccess:
    """The servers in the order to try, and our credentials for those whose address holds none."""

    addresses: tuple[RedisAddress, ...]
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    @classmethod
    def from_options(cls, options: EngineOptions) -> RedisAccess:
        """:raises InvalidSetting: redis-py is missing, or an address, a certificate or a credential is no good."""
        if find_spec("redis") is None:
            raise InvalidSetting(
                "the Redis library is not installed; install it by: pip install 'redis>=5.1'"
                " (or install the sidecar with it: the extra is microsidecar[redis])"
            )
        if options.token or options.credentials_file:
            raise InvalidSetting("Redis takes a user name and a password, no token and no credentials file")
        access = cls(
            tuple(parse_address(text, options.tls) for text in options.addresses)
            or (RedisAddress("127.0.0.1", tls=options.tls),),
            options.username,
            options.password,
            options.ca_file,
            options.cert_file,
            options.key_file,
        )
        access._check_files()
        return access

    def _check_files(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca_file:
                context.load_verify_locations(cafile=self.ca_file)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(name for name in (self.ca_file, self.cert_file, self.key_file) if name)
            raise InvalidSetting(f"TLS to Redis: {files}: {error}") from None

    def arguments(self, address: RedisAddress) -> dict[str, Any]:
        """What ``redis.asyncio.Redis`` is to be given for ``address``."""
        user, password = (
            (address.username, address.password)
            if address.username or address.password
            else (self.username, self.password)
        )
        arguments: dict[str, Any] = {"host": address.host, "port": address.port, "protocol": 2}
        if user:
            arguments["username"] = user
        if password:
            arguments["password"] = password
        if address.tls:
            arguments |= {
                "ssl": True,
                "ssl_cert_reqs": "required",
                "ssl_check_hostname": True,
                "ssl_ca_certs": self.ca_file or None,
                "ssl_certfile": self.cert_file or None,
                "ssl_keyfile": self.key_file or None,
                "ssl_min_version": ssl.TLSVersion.TLSv1_2,
            }
        return arguments
