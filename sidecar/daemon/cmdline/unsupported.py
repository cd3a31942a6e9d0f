"""Flags of the original and of go-micro that make no sense here, each with what to use instead."""

from __future__ import annotations

_NO_WEB = "the web dashboard of micro is not part of the sidecar; see --enable_stats for /stats"
_NO_API = "the micro API gateway is not part of the sidecar; it serves /rpc, /registry and /broker on --address"
_NO_ACME = (
    "get a certificate with certbot and give it by --enable_tls --tls_cert_file=fullchain.pem"
    " --tls_key_file=privkey.pem"
)
_BY_NODE = (
    "leave it out: each node is called in the dialect that its registration names; see --server_protocol for the app"
)
_NO_TRANSPORT = (
    "leave it out: go-micro's http transport is spoken, and gRPC to nodes that ask for it; see --broker for NATS"
)

UNSUPPORTED: dict[str, str] = {
    "web_address": _NO_WEB,
    "web_namespace": _NO_WEB,
    "web_cors": "use --sidecar_cors",
    "api_address": "use --address for the sidecar's own HTTP API",
    "api_handler": _NO_API,
    "api_namespace": _NO_API,
    "api_cors": "use --sidecar_cors",
    "enable_acme": _NO_ACME,
    "acme_hosts": _NO_ACME,
    "client": _BY_NODE,
    "server": _BY_NODE,
    "transport": _NO_TRANSPORT,
    "transport_address": _NO_TRANSPORT,
    "runtime": "start services with systemd or a container runtime; the sidecar starts none",
    "profile": "choose the engines by --registry and --broker; to profile under twistd use twistd --profile",
    "debug_profile": "use twistd --profile",
    "store": "the sidecar keeps no store",
    "store_address": "the sidecar keeps no store",
    "store_database": "the sidecar keeps no store",
    "store_table": "the sidecar keeps no store",
    "tracer": "the sidecar traces nothing; request headers go along with each call",
    "tracer_address": "the sidecar traces nothing; request headers go along with each call",
    "auth": "use --tls_client_ca_file to admit callers by certificate",
    "auth_id": "use --tls_client_ca_file to admit callers by certificate",
    "auth_secret": "use --tls_client_ca_file to admit callers by certificate",
    "auth_namespace": "use --tls_client_ca_file to admit callers by certificate",
    "auth_public_key": "use --tls_client_ca_file to admit callers by certificate",
    "auth_private_key": "use --tls_client_ca_file to admit callers by certificate",
}
