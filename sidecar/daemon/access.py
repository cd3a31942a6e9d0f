"""Makes the policy for who may do what, of the files that the flags name."""

from __future__ import annotations

from functools import partial
from typing import Any

from sidecar.daemon.cmdline.settings import AccessSettings
from sidecar.errors import ConfigError
from sidecar.waiting import wall
from sidecar.web.access import rolefile, tokenfile
from sidecar.web.access.ownership import Ownership
from sidecar.web.access.watched import WatchedFile
from sidecar.web.operations.policy import AccessPolicy
from sidecar.web.operations.ticket import TicketResource


def policy(settings: AccessSettings, reactor: Any) -> AccessPolicy | None:
    """:returns: None where everybody may do everything. :raises ConfigError: a file is no good."""
    if not settings.tokens and not settings.roles:
        return None
    try:
        tokens = WatchedFile(settings.tokens, tokenfile.read) if settings.tokens else None
    except ConfigError as error:
        raise ConfigError(f"--auth_tokens={error}") from None
    try:
        roles = WatchedFile(settings.roles, rolefile.read) if settings.roles else None
    except ConfigError as error:
        raise ConfigError(f"--auth_roles={error}") from None
    return AccessPolicy(reactor.seconds, partial(wall, reactor), tokens, roles)


def ownership(policy: AccessPolicy | None, reactor: Any) -> Ownership | None:
    """:returns: None where nobody has a name."""
    return None if policy is None else Ownership(reactor.seconds)


def tickets(policy: AccessPolicy | None, reactor: Any) -> TicketResource:
    """:returns: what is on ``/ticket``."""
    return TicketResource(policy, partial(wall, reactor))
