"""What somebody may do: roles, and the services and topics that they may do it with. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Final

from attrs import frozen

from sidecar.errors import ConfigError, Forbidden
from sidecar.model import ROLES, Caller

#: Every service, or every topic.
ANY: Final = ("*",)
#: What tokens may be called: nothing that a certificate or a user of the machine is called.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_PATTERN = re.compile(r"[^\x00-\x20\x7f]{1,512}")


@frozen
class Grant:
    """What one caller may do.

    :ivar name: the caller's. :ivar roles: from :data:`~sidecar.model.ROLES`.
    :ivar services: patterns, in which ``*`` is any text. :ivar topics: the same.
    :ivar expires: seconds since the epoch, or None for never.
    """

    name: str
    roles: frozenset[str]
    services: tuple[str, ...] = ANY
    topics: tuple[str, ...] = ANY
    expires: float | None = None

    def caller(self, address: str, by: str) -> Caller:
        """:param address: where they came from. :param by: how they showed who they are."""
        roles = ROLES if "admin" in self.roles else self.roles
        services = None if "*" in self.services else self.services
        topics = None if "*" in self.topics else self.topics
        return Caller(self.name, roles, address, by, services, topics)


@lru_cache(maxsize=4096)
def matches(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of ``patterns`` is of ``name``: ``*`` in them is any text, all else is itself."""
    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None for pattern in patterns
    )


def check_service(caller: Caller, role: str, name: str) -> None:
    """:raises Forbidden: ``caller`` may not do what ``role`` is for with the service ``name``."""
    if caller.services is not None and not matches(caller.services, name):
        raise Forbidden(
            f"{caller.name or 'this caller'} has the role {role} for the services {', '.join(caller.services)} only,"
            f" and {name[:100]!r} is none of them"
        )


def check_topic(caller: Caller, role: str, topic: str) -> None:
    """:raises Forbidden: ``caller`` may not do what ``role`` is for with ``topic``."""
    if caller.topics is not None and not matches(caller.topics, topic):
        raise Forbidden(
            f"{caller.name or 'this caller'} has the role {role} for the topics {', '.join(caller.topics)} only,"
            f" and {topic[:100]!r} is none of them"
        )


def check_name(name: str) -> str:
    """:raises ValueError: a token cannot be called ``name``."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name has 1 to 64 letters, digits, dots, dashes, underscores and @, a letter or digit first")
    return name


def check_roles(roles: Iterable[str]) -> frozenset[str]:
    """:raises ValueError: there is no such role, or none at all."""
    given = frozenset(roles)
    unknown = sorted(given - ROLES)
    if unknown or not given:
        raise ValueError(
            f"{f'there is no role {unknown[0]!r}' if unknown else 'no role is given'}; there are {', '.join(ALL_ROLES)}"
        )
    return given


def check_patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    """:raises ValueError: one is no pattern. :returns: them, or :data:`ANY` where there are none."""
    given = tuple(patterns)
    for pattern in given:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"{pattern[:40]!r} is no pattern; write a name such as shop.*, in which * is any text")
    return given or ANY


def read_grant(name: str, table: Mapping[str, Any], where: str) -> Grant:
    """:param table: ``roles``, ``services``, ``topics`` and ``expires``, as a TOML table has them.
    :param where: begins what is said of a fault. :raises ConfigError: it cannot be understood."""
    unknown = sorted(table.keys() - {"roles", "services", "topics", "expires"})
    if unknown:
        raise ConfigError(f"{where}: {unknown[0]!r} is not known; there are roles, services, topics and expires")
    try:
        return Grant(
            name,
            check_roles(_texts(table.get("roles", []))),
            check_patterns(_texts(table.get("services", []))),
            check_patterns(_texts(table.get("topics", []))),
            read_date(table["expires"]) if "expires" in table else None,
        )
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def read_date(value: object) -> float:
    """:returns: seconds since the epoch. :raises ValueError: ``value`` is no date."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no date; write one like 2027-01-31T12:00:00Z") from None
    if not isinstance(value, datetime):
        raise ValueError("expires is no date; write one like 2027-01-31T12:00:00Z")
    return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()


def date(seconds: float) -> str:
    """:param seconds: since the epoch. :returns: as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


#: In the order in which people are told of them.
ALL_ROLES: Final = ("read", "register", "call", "publish", "subscribe", "admin")


def _texts(value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("roles, services and topics are lists of texts")
    return texts
