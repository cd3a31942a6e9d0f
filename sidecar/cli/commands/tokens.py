"""``micro token``: makes, lists and revokes the tokens that callers show to a sidecar."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.cli import output
from sidecar.cli.api import Failed
from sidecar.cli.arguments import Wrong
from sidecar.cli.exits import USAGE
from sidecar.cli.invocation import Invocation, not_found, say
from sidecar.errors import ConfigError
from sidecar.web.access import grants, tokenfile
from sidecar.wire import durations

_DAY = 86400.0


def new(invocation: Invocation) -> int:
    """``micro token new``: the token alone goes to standard output, so that a script can keep it."""
    name = _name(invocation)
    given = invocation.arguments
    try:
        grant = grants.Grant(
            grants.check_name(name),
            grants.check_roles(_parts(given.every("role"))),
            grants.check_patterns(_parts(given.every("service"))),
            grants.check_patterns(_parts(given.every("topic"))),
            _expires(given.text("expires")),
        )
    except ValueError as error:
        raise Wrong(f"token {name}: {error}") from None
    token = tokenfile.make()
    with _changing(path := _path(invocation)):
        tokens = tokenfile.read(path) if os.path.exists(path) else ()
        if any(each.grant.name == name for each in tokens):
            raise Failed(f"{path} has a token {name} already: revoke it first, or choose another name")
        tokenfile.write(path, (*tokens, tokenfile.Token(grant, tokenfile.digest_of(token.encode()))))
    return say(token)


def list_tokens(invocation: Invocation) -> int:
    """``micro token list``: what there is; the tokens themselves are nowhere."""
    path = _path(invocation)
    with _reading():
        tokens = tokenfile.read(path)
    now = time.time()
    rows = [
        {
            "name": token.grant.name,
            "roles": sorted(token.grant.roles),
            "services": list(token.grant.services),
            "topics": list(token.grant.topics),
            "expires": None if token.grant.expires is None else grants.date(token.grant.expires),
            "expired": token.grant.expires is not None and token.grant.expires <= now,
        }
        for token in tokens
    ]
    shown = [
        (
            token.grant.name,
            ",".join(sorted(token.grant.roles)),
            ",".join(token.grant.services),
            ",".join(token.grant.topics),
            _until(token.grant, now),
        )
        for token in tokens
    ]
    return invocation.show(rows, output.columns(("NAME", "ROLES", "SERVICES", "TOPICS", "EXPIRES"), shown))


def revoke(invocation: Invocation) -> int:
    """``micro token revoke``."""
    name = _name(invocation)
    with _changing(path := _path(invocation)):
        tokens = tokenfile.read(path)
        left = [token for token in tokens if token.grant.name != name]
        if len(left) == len(tokens):
            not_found(f"{path} has no token {name}")
        tokenfile.write(path, left)
    return 0


def _name(invocation: Invocation) -> str:
    invocation.need(1, "the NAME of the token")
    if len(invocation.words) > 1:
        raise Wrong(f"one NAME at a time, and {invocation.words[1]!r} is one more")
    return invocation.words[0]


def _path(invocation: Invocation) -> str:
    path = invocation.arguments.text("file")
    if not path:
        raise Wrong("which file? give --file=FILE, the one that --auth_tokens of the sidecar names")
    return path


def _parts(given: list[str]) -> list[str]:
    return [part.strip() for text in given for part in text.split(",") if part.strip()]


def _expires(given: str) -> float | None:
    """:returns: seconds since the epoch. :raises ValueError: it is neither a time from now nor a date."""
    if not given:
        return None
    if given[:4].isdecimal() and given[4:5] == "-":
        return grants.read_date(given)
    days, found, rest = given.partition("d")
    try:
        seconds = float(days) * _DAY if found else 0.0
        seconds += durations.parse(rest if found else given) if not found or rest else 0.0
    except ValueError:
        raise ValueError(f"--expires={given}: write a time such as 90d or 12h, or a date such as 2027-01-31") from None
    if not 0 < seconds < 1e10:
        raise ValueError(f"--expires={given}: is no time from now")
    return time.time() + seconds


def _until(grant: grants.Grant, now: float) -> str:
    if grant.expires is None:
        return "never"
    return grants.date(grant.expires) + (" (expired)" if grant.expires <= now else "")


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise Failed(str(error), code=USAGE) from None
    except OSError as error:
        raise Failed(f"{error.filename or 'the file'}: {error.strerror or error}") from None


@contextmanager
def _changing(path: str) -> Iterator[None]:
    """While one command changes the file, others wait."""
    with _reading():
        folder = os.path.dirname(os.path.realpath(path)) or "."
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
