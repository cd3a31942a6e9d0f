"""What flags say of calls to services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sidecar.daemon.cmdline.settings import ClientSettings
from sidecar.rpc.ejection import EjectionLimits

#: Connections to one node where the flag is 0, as go-micro's services set it.
_POOL_SIZE: Final = 512


def client(flag: Callable[[str], Any]) -> ClientSettings:
    """:param flag: gives the value of a flag by its name."""
    return ClientSettings(
        request_timeout=flag("client_request_timeout"),
        retries=flag("client_retries"),
        retry=flag("client_retry"),
        pool_size=flag("client_pool_size") or _POOL_SIZE,
        pool_ttl=min(flag("client_pool_ttl"), 60.0),
        max_waiting=flag("client_max_waiting"),
        selector=flag("selector"),
        any_address=flag("rpc_any_address"),
        retry_share=flag("retry_budget") / 100,
        ejection=EjectionLimits(
            failures=flag("eject_failures"),
            time=flag("eject_time"),
            longest=max(flag("eject_time"), flag("eject_max_time")),
            slow_start=flag("eject_slow_start"),
            panic=flag("eject_panic") / 100,
        ),
    )
