"""What flags say of calls to services."""

from __future__ import annotations

from typing import Final

from twisted.python.usage import UsageError

from sidecar.daemon.cmdline.given import Source
from sidecar.daemon.cmdline.settings import ClientSettings
from sidecar.net.client.addressrules import AddressRules
from sidecar.rpc.dialects.nodetls import NodeTlsSettings
from sidecar.rpc.ejection import EjectionLimits

#: Connections to one node where the flag is 0, as go-micro's services set it.
_POOL_SIZE: Final = 512


def client(given: Source) -> ClientSettings:
    """How calls are made."""
    return ClientSettings(
        request_timeout=given["client_request_timeout"],
        retries=given["client_retries"],
        retry=given["client_retry"],
        pool_size=given["client_pool_size"] or _POOL_SIZE,
        pool_ttl=min(given["client_pool_ttl"], 60.0),
        max_waiting=given["client_max_waiting"],
        selector=given["selector"],
        any_address=given["rpc_any_address"],
        rules=AddressRules(given["allow_addresses"] or ()),
        retry_share=given["retry_budget"] / 100,
        ejection=EjectionLimits(
            failures=given["eject_failures"],
            time=given["eject_time"],
            longest=max(given["eject_time"], given["eject_max_time"]),
            slow_start=given["eject_slow_start"],
            panic=given["eject_panic"] / 100,
        ),
        tls=_tls(given),
    )


def _tls(given: Source) -> NodeTlsSettings:
    """:raises UsageError: one of certificate and key is missing."""
    cert, key = given.text("rpc_tls_cert_file"), given.text("rpc_tls_key_file")
    if bool(cert) != bool(key):
        missing = "--rpc_tls_key_file" if cert else "--rpc_tls_cert_file"
        raise UsageError(f"{missing} is missing: nodes are shown a certificate by both of them (PEM)")
    return NodeTlsSettings(given["rpc_tls"], given.text("rpc_tls_ca_file"), cert, key)
