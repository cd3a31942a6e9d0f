"""The one table of metrics: what ``/metrics`` gives, and what the documentation lists."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen


@frozen
class Family:
    """One family of metrics, whose names follow Prometheus' conventions.

    :ivar name: as it stands in a query: of a counter with ``_total``.
    :ivar labels: by what it is told apart; the values of each are a closed list.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: tuple[str, ...] = ()


FAMILIES: Final = (
    Family("microsidecar_build_info", "info", "Which microsidecar this is.", ("version",)),
    Family("microsidecar_start_time_seconds", "gauge", "When it started, in seconds since the epoch."),
    Family("microsidecar_calls_total", "counter", "Calls by how they ended.", ("service", "method_class", "outcome")),
    Family(
        "microsidecar_call_attempts_total", "counter", "Attempts of calls by how they ended.", ("service", "outcome")
    ),
    Family("microsidecar_call_retries_total", "counter", "Attempts after the first.", ("service",)),
    Family("microsidecar_call_duration_seconds", "histogram", "How long calls took.", ("service",)),
    Family("microsidecar_calls_in_flight", "gauge", "Calls under way."),
    Family("microsidecar_streams_open", "gauge", "Streams of services that are open."),
    Family("microsidecar_ejected_nodes", "gauge", "Addresses that get no calls."),
    Family("microsidecar_ejections_total", "counter", "How often an address was taken out of the calls."),
    Family("microsidecar_pool_connections", "gauge", "Connections to nodes over HTTP/1.1.", ("state",)),
    Family("microsidecar_pool_waiting", "gauge", "Calls that wait for a connection that others use."),
    Family("microsidecar_registry_changes_total", "counter", "Nodes that came, altered or went.", ("action", "reason")),
    Family("microsidecar_backend_connected", "gauge", "Whether an engine answers.", ("role", "kind")),
    Family("microsidecar_backend_stale", "gauge", "Whether reads are answered from memory.", ("role", "kind")),
    Family(
        "microsidecar_backend_stale_seconds", "gauge", "For how long reads are answered from memory.", ("role", "kind")
    ),
    Family("microsidecar_http_responses_total", "counter", "HTTP answers by route and class.", ("route", "code")),
    Family("microsidecar_http_waiting", "gauge", "Requests that wait to be begun, since more come than can be."),
    Family("microsidecar_http_refused_total", "counter", "Requests that waited too long to be begun: 503."),
    Family("microsidecar_websockets", "gauge", "WebSockets that are open."),
    Family("microsidecar_websockets_refused_total", "counter", "WebSockets refused, since there were too many."),
    Family("microsidecar_websockets_shed_total", "counter", "WebSockets closed for half messages that held too much."),
    Family("microsidecar_watchers", "gauge", "Streams of events, and requests that wait for a change, that are open."),
    Family("microsidecar_watchers_refused_total", "counter", "Watchers refused, since there were too many."),
    Family("microsidecar_watchers_slow_total", "counter", "Watchers cut off, since they did not keep up."),
    Family("microsidecar_broker_published_total", "counter", "Messages that WebSockets published."),
    Family("microsidecar_broker_failed_total", "counter", "Messages of WebSockets that could not be published."),
    Family("microsidecar_broker_delivered_total", "counter", "Messages given to WebSockets."),
    Family("microsidecar_broker_dropped_total", "counter", "Messages dropped, since a subscriber did not keep up."),
    Family("microsidecar_broker_slow_total", "counter", "Subscribers closed, since they did not keep up."),
    Family("microsidecar_memory_limit_bytes", "gauge", "What may be kept for all clients together."),
    Family("microsidecar_memory_buffered_bytes", "gauge", "What is kept for all clients together."),
    Family("microsidecar_memory_shed_total", "counter", "What was given up since too much was kept.", ("kind",)),
    Family("microsidecar_spans_exported_total", "counter", "Spans that the collector took."),
    Family("microsidecar_spans_dropped_total", "counter", "Spans lost: the collector was gone, or too many waited."),
    Family("microsidecar_app_healthy", "gauge", "Whether an app is well; 1 where it is not checked.", ("app",)),
    Family("microsidecar_checks_total", "counter", "Checks of apps by what they found.", ("app", "check", "outcome")),
    Family("microsidecar_reactor_delay_seconds", "gauge", "How late the last look of each second came."),
    Family("microsidecar_reactor_stalls_total", "counter", "Looks of each second that came 0.1 s late or more."),
    Family("microsidecar_auth_refused_total", "counter", "Requests that were not let in, by why.", ("reason",)),
)
