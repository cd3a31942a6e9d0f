"""The one table of flags: it drives parsing, environment variables, defaults and ``--help``."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from sidecar.daemon.cmdline import parsers


@frozen
class Flag:
    """One flag.

    :ivar name: spelled with ``_``; people may write ``-``.
    :ivar parse: reads the text, raises ValueError with a sentence. For a switch it reads ``--name=true``.
    :ivar default: as a user would write it, "" for not set.
    :ivar env: environment variables that are looked at before ``MICRO_<NAME>``.
    :ivar aliases: other names of the same flag.
    :ivar switch: needs no value.
    :ivar secret: never shown in messages.
    :ivar repeatable: makes a list, so that it may be given several times; the values are joined with commas.
    :ivar pairs: it is ``key=value``, for which the file has a table.
    :ivar group: under which help shows it.
    :ivar reloadable: SIGHUP applies a change of it, or of the files that it names.
    """

    name: str
    parse: Callable[[str], object]
    default: str
    help: str
    metavar: str = ""
    env: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    switch: bool = False
    secret: bool = False
    repeatable: bool = False
    pairs: bool = False
    reloadable: bool = False
    group: str = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables, in the order in which they are looked at."""
        return (*self.env, f"MICRO_{self.name.upper()}")


def _switch(name: str, help: str) -> Flag:
    return Flag(name, parsers.boolean, "false", help, switch=True)


def _secret(name: str, help: str) -> tuple[Flag, Flag]:
    """A secret, and the file that it can be read from."""
    return (
        Flag(name, parsers.text, "", f"{help} (or the file {name} in $CREDENTIALS_DIRECTORY)", "TEXT", secret=True),
        Flag(f"{name}_file", parsers.text, "", f"file that holds the {help}", "FILE"),
    )


def _engine(what: str) -> tuple[Flag, ...]:
    """The flags that say how to reach the engines of a registry or broker."""
    return (
        Flag(f"{what}_username", parsers.text, "", "user at the engine", "NAME"),
        *_secret(f"{what}_password", "password at the engine"),
        *_secret(f"{what}_token", "token for the engine"),
        Flag(f"{what}_credentials", parsers.text, "", "NATS .creds or nkey seed file", "FILE"),
        _switch(f"{what}_tls", "speak TLS to the engine"),
        Flag(f"{what}_ca_file", parsers.text, "", "authorities that sign the engine's certificate, PEM", "FILE"),
        Flag(f"{what}_cert_file", parsers.text, "", "our certificate for the engine, PEM", "FILE"),
        Flag(f"{what}_key_file", parsers.text, "", "its key, PEM", "FILE"),
    )


#: The groups whose flags a reload applies: the certificates, and the app with its checks.
RELOADABLE = ("TLS", "The app beside the sidecar")

_GROUPS: tuple[tuple[str, tuple[Flag, ...]], ...] = (
    (
        "Listening",
        (
            Flag(
                "port",
                parsers.port,
                "8081",
                "port number, or a Twisted endpoint: tcp:8081:interface=127.0.0.1, unix:/run/micro.sock,"
                " systemd:domain=INET:name=api",
                "PORT",
            ),
            Flag(
                "address",
                parsers.address,
                "127.0.0.1:8081",
                "host:port to listen on; :8081 is every interface",
                "HOST:PORT",
                env=("MICRO_SIDECAR_ADDRESS",),
                aliases=("sidecar_address",),
            ),
            Flag(
                "sidecar_cors",
                parsers.origins,
                "",
                "origins whose pages may call, by comma, or *; our own host always may",
                "ORIGINS",
                aliases=("cors",),
                repeatable=True,
            ),
            Flag(
                "sidecar_handler",
                parsers.choice("rpc", "proxy", "web", "http"),
                "rpc",
                "what paths of services are for: rpc: POST /greeter/say/hello calls Say.Hello of the service greeter;"
                " proxy, web and http: requests go on to a node of the service in their first segment, as they are",
                "rpc|proxy|web|http",
                aliases=("handler",),
            ),
            Flag(
                "sidecar_namespace",
                parsers.namespace,
                "",
                "what the names of these services begin with; an empty one prefixes nothing (when not given:"
                " go.micro.srv, with --sidecar_handler=web go.micro.web)",
                "NAMESPACE",
                aliases=("namespace",),
            ),
            Flag(
                "sidecar_hosts",
                parsers.host_names,
                "",
                "names by which the ports may be asked besides this machine's own, by comma, or *",
                "NAMES",
            ),
            _switch("enable_stats", "serve the stats dashboard on /stats"),
            Flag(
                "drain_delay",
                parsers.duration(),
                "0s",
                "time between leaving the registry and closing the port, for the news to spread",
                "DURATION",
            ),
            Flag(
                "drain_timeout",
                parsers.duration(),
                "10s",
                "how long calls in flight may take to finish at shutdown",
                "DURATION",
            ),
        ),
    ),
    (
        "What survives a restart",
        (
            Flag(
                "data_dir",
                parsers.text,
                "",
                "directory for registrations of the memory registry, ids, maintenance and the journal; none keeps"
                " nothing (when not given: $STATE_DIRECTORY, else $XDG_STATE_HOME/microsidecar/ADDRESS_PORT)",
                "DIR",
            ),
            Flag(
                "journal_entries",
                parsers.whole(0, 10_000_000),
                "100000",
                "changes of the registry that the journal holds",
                "COUNT",
            ),
            Flag("journal_age", parsers.positive_duration, "7d", "how long the journal holds them", "DURATION"),
        ),
    ),
    (
        "Who may do what",
        (
            Flag(
                "auth_tokens",
                parsers.text,
                "",
                "file of the tokens that callers show, which `micro token` writes; with it, each needs a role for what"
                " it does",
                "FILE",
            ),
            Flag(
                "auth_roles",
                parsers.text,
                "",
                "TOML file that gives roles to users and groups of a Unix socket (uid:1000) and to client certificates"
                " (san:uri:..., san:dns:...)",
                "FILE",
            ),
            Flag("socket_mode", parsers.file_mode, "", "permissions of a Unix socket, such as 0660", "MODE"),
            Flag("socket_group", parsers.text, "", "group of a Unix socket", "GROUP"),
            _switch(
                "insecure_listen",
                "let the API listen where other machines reach it without --auth_tokens or --tls_client_ca_file",
            ),
        ),
    ),
    (
        "TLS",
        (
            _switch("enable_tls", "serve HTTPS; giving a certificate and a key means it too"),
            Flag("tls_cert_file", parsers.text, "", "certificate chain, PEM, our own first", "FILE"),
            Flag("tls_key_file", parsers.text, "", "private key of the certificate, PEM", "FILE"),
            Flag(
                "tls_client_ca_file", parsers.text, "", "callers must show a certificate signed by these, PEM", "FILE"
            ),
            Flag(
                "rpc_tls",
                parsers.choice("auto", "require", "off"),
                "auto",
                "TLS to nodes of services: auto for those with metadata secure=true or tls=true, or registered at an"
                " https:// address; require for all; off for none",
                "auto|require|off",
            ),
            Flag(
                "rpc_tls_ca_file",
                parsers.text,
                "",
                "authorities that sign the certificates of nodes, PEM (when not given: the system's)",
                "FILE",
            ),
            Flag("rpc_tls_cert_file", parsers.text, "", "our certificate for nodes, PEM, with its chain", "FILE"),
            Flag("rpc_tls_key_file", parsers.text, "", "its key, PEM", "FILE"),
        ),
    ),
    (
        "The app beside the sidecar",
        (
            Flag(
                "server_name", parsers.text, "", "register the app by this name", "NAME", ("MICRO_SIDECAR_SERVER_NAME",)
            ),
            Flag(
                "server_address",
                parsers.app_address,
                "",
                "where the app listens; 0.0.0.0 and [::] are registered as an address of this machine",
                "HOST:PORT",
                ("MICRO_SIDECAR_SERVER_ADDRESS",),
            ),
            Flag("server_advertise", parsers.host_port, "", "register this address instead", "HOST:PORT"),
            Flag("server_id", parsers.text, "", "node id; <name>-<uuid> when not given", "ID"),
            Flag("server_version", parsers.text, "", "version of the app", "TEXT"),
            Flag(
                "server_metadata",
                parsers.pairs,
                "",
                "metadata of the node; may be repeated",
                "KEY=VALUE",
                repeatable=True,
                pairs=True,
            ),
            Flag(
                "server_protocol",
                parsers.choice("jsonrpc", "http"),
                "jsonrpc",
                "jsonrpc: the app speaks go-micro's envelope; http: it serves POST /<Type>/<Method>, we translate",
                "jsonrpc|http",
            ),
            Flag(
                "server_inbound",
                parsers.tcp_port,
                "127.0.0.1:0",
                "with --server_protocol=http, where we listen for go-micro calls to the app",
                "HOST:PORT",
            ),
            Flag(
                "server_endpoint",
                parsers.endpoints,
                "",
                "a method of the app, as others are shown it, with metadata behind it:"
                ' \'Say.Hello;description=Greets;example={"name":"John"};scopes=public\', stream=true'
                " where it is a stream; may be repeated",
                "TYPE.METHOD",
                repeatable=True,
            ),
            Flag(
                "server_endpoints",
                parsers.text,
                "",
                "file of the app's methods with their shapes: go-micro's JSON as in /registry, or OpenAPI 3 in JSON",
                "FILE",
            ),
            Flag(
                "server_endpoints_url",
                parsers.web_url,
                "",
                "where the app says the same, asked when it becomes healthy",
                "URL",
            ),
            Flag(
                "server_max_body",
                parsers.size(1024),
                "64MiB",
                "with --server_protocol=http, the largest request of a go-micro caller, and answer of the app",
                "SIZE",
            ),
            Flag("server_max_header", parsers.size(1024), "1MiB", "the largest header of such a request", "SIZE"),
            Flag(
                "server_tls_cert_file",
                parsers.text,
                "",
                "speak TLS there: certificate chain, PEM, our own first; the app is registered with secure=true",
                "FILE",
            ),
            Flag("server_tls_key_file", parsers.text, "", "private key of that certificate, PEM", "FILE"),
            Flag(
                "server_tls_client_ca_file",
                parsers.text,
                "",
                "go-micro callers must show a certificate signed by these there, PEM",
                "FILE",
            ),
            Flag(
                "healthcheck_url",
                parsers.web_url,
                "",
                "check the app there; it is registered only while healthy",
                "URL",
                ("MICRO_SIDECAR_HEALTHCHECK_URL",),
            ),
            Flag(
                "healthcheck_ca_file",
                parsers.text,
                "",
                "authorities to trust when the check is https, PEM; a self-signed app's own certificate will do",
                "FILE",
            ),
            Flag("healthcheck_interval", parsers.positive_duration, "30s", "time between checks", "DURATION"),
            Flag(
                "healthcheck_timeout",
                parsers.positive_duration,
                "5s",
                "time a check may take, body included",
                "DURATION",
            ),
            Flag("healthcheck_rise", parsers.whole(1, 1000), "1", "passes in a row that make it healthy", "COUNT"),
            Flag("healthcheck_fall", parsers.whole(1, 1000), "1", "failures in a row that make it unhealthy", "COUNT"),
            Flag(
                "register_ttl",
                parsers.duration(),
                "",
                "the app vanishes from the registry this long after our last renewal; 0 is never"
                " (when not given: 60s, with --registry=memory never)",
                "DURATION",
            ),
            Flag(
                "register_interval",
                parsers.duration(),
                "",
                "time between renewals (when not given: half the ttl)",
                "DURATION",
            ),
        ),
    ),
    (
        "Calling services",
        (
            Flag(
                "selector",
                parsers.choice("random", "roundrobin", "leastbusy", also={"default": "random", "cache": "random"}),
                "random",
                "how a node is chosen; a weight in its metadata is honoured",
                "random|roundrobin|leastbusy",
            ),
            Flag(
                "client_request_timeout",
                parsers.positive_duration,
                "5s",
                "time for a whole call, retries included",
                "DURATION",
            ),
            Flag("client_retries", parsers.whole(0, 100), "1", "more attempts after the first", "COUNT"),
            Flag(
                "client_retry",
                parsers.choice("safe", "error", "never"),
                "safe",
                "safe: only what cannot have run; error: as go-micro, on 408 and 500",
                "safe|error|never",
            ),
            Flag("client_pool_size", parsers.whole(0, 100_000), "512", "connections to one node at most", "COUNT"),
            Flag(
                "client_pool_ttl",
                parsers.positive_duration,
                "1m",
                "how long a connection may idle, 1m at most",
                "DURATION",
            ),
            Flag(
                "client_max_waiting",
                parsers.whole(0, 1_000_000),
                "1024",
                "calls that may wait for a connection",
                "COUNT",
            ),
            Flag(
                "retry_budget",
                parsers.whole(0, 1000),
                "20",
                "percent of calls that may be tried again, besides ten a second",
                "PERCENT",
            ),
            Flag(
                "eject_failures",
                parsers.whole(0, 1000),
                "3",
                "calls in a row that break or time out until an address gets none for a while; 0 for never",
                "COUNT",
            ),
            Flag(
                "eject_time",
                parsers.positive_duration,
                "3s",
                "how long the first time, and after a refusal; twice as long each time in a row",
                "DURATION",
            ),
            Flag("eject_max_time", parsers.positive_duration, "1m", "how long at most", "DURATION"),
            Flag(
                "eject_slow_start",
                parsers.duration(),
                "10s",
                "over which an address that is back gets its full share",
                "DURATION",
            ),
            Flag(
                "eject_panic",
                parsers.whole(0, 100),
                "30",
                "percent of a service's addresses: where fewer would be left, all are called",
                "PERCENT",
            ),
            _switch("rpc_any_address", "let a call name any address, not only a registered node's"),
            Flag(
                "allow_addresses",
                parsers.networks,
                "",
                "addresses or networks that nodes may have though they are refused: link-local, a cloud's metadata,"
                " multicast, broadcast, reserved, unspecified",
                "NETWORKS",
            ),
        ),
    ),
    (
        "Registry",
        (
            Flag(
                "registry",
                parsers.listed,
                "memory",
                "engines by comma: memory, consul, etcd, mdns, nats",
                "NAMES",
                repeatable=True,
            ),
            Flag(
                "registry_address",
                parsers.listed,
                "",
                "addresses of the engine by comma; with several engines consul=HOST:PORT,etcd=HOST:PORT",
                "ADDRESSES",
                repeatable=True,
            ),
            *_engine("registry"),
            Flag("mdns_interface", parsers.text, "", "IP address of the interface to multicast on", "ADDRESS"),
        ),
    ),
    (
        "Broker",
        (
            Flag("broker", parsers.text, "memory", "engine: memory, nats, http, rabbitmq, redis", "NAME"),
            Flag(
                "broker_address",
                parsers.listed,
                "",
                "addresses of the engine by comma; for http: where we listen for messages",
                "ADDRESSES",
                repeatable=True,
            ),
            *_engine("broker"),
            _switch("broker_events_create", "make a stream of JetStream's that events need and that is missing"),
            Flag(
                "broker_slow",
                parsers.choice("drop", "close"),
                "drop",
                "a subscriber that does not keep up: drop its oldest messages, or close it",
                "drop|close",
            ),
            Flag("broker_outbox", parsers.size(1024), "8MiB", "bytes that may wait for one subscriber", "SIZE"),
            Flag(
                "broker_outbox_messages",
                parsers.whole(1, 10_000_000),
                "65536",
                "messages that may wait for one",
                "COUNT",
            ),
            Flag("broker_max_message", parsers.size(1), "", "largest message (when not given: --max_body)", "SIZE"),
            Flag(
                "broker_max_incomplete",
                parsers.size(1),
                "64MiB",
                "messages that have not come whole, of all WebSockets together",
                "SIZE",
            ),
            Flag(
                "broker_max_connections",
                parsers.whole(1, 1_000_000),
                "16384",
                "WebSockets and watches open at once",
                "COUNT",
            ),
            Flag("broker_ping_interval", parsers.positive_duration, "25s", "time between pings", "DURATION"),
            Flag("broker_ping_timeout", parsers.positive_duration, "25s", "time to wait for the pong", "DURATION"),
        ),
    ),
    (
        "Limits of the HTTP server",
        (
            Flag("max_header", parsers.size(1024), "16KiB", "request line and headers", "SIZE"),
            Flag("max_body", parsers.size(1024), "4MiB", "body of a request, and of a service's answer", "SIZE"),
            Flag(
                "max_connections",
                parsers.whole(1, 1_000_000),
                "10000",
                "connections open at once on one port; idle ones make room for new ones",
                "COUNT",
            ),
            Flag(
                "max_peer_connections",
                parsers.whole(1, 1_000_000),
                "",
                "connections of one peer (an address, or a user at a Unix socket; loopback may have all) "
                "open at once (when not given: a quarter of --max_connections)",
                "COUNT",
            ),
            Flag(
                "max_peer_requests",
                parsers.whole(1, 1_000_000),
                "",
                "requests of one peer under way, of those that do not last (when not given: a quarter of "
                "--max_connections)",
                "COUNT",
            ),
            Flag(
                "max_peer_websockets",
                parsers.whole(1, 1_000_000),
                "",
                "WebSockets of one peer open at once (when not given: a quarter of --broker_max_connections)",
                "COUNT",
            ),
            Flag(
                "max_peer_subscriptions",
                parsers.whole(1, 1_000_000),
                "",
                "WebSockets, watches and blocking queries of one peer (when not given: a quarter of "
                "--broker_max_connections)",
                "COUNT",
            ),
            Flag(
                "max_memory",
                parsers.size(1024 * 1024),
                "",
                "what may be kept in memory for all clients together: requests and messages that have not come whole,"
                " answers and messages that nobody takes (when not given: an eighth of what there is, 64MiB to 512MiB)",
                "SIZE",
            ),
            Flag("max_nodes", parsers.whole(1, 100_000), "1000", "nodes of one registration", "COUNT"),
            Flag("max_endpoints", parsers.whole(1, 100_000), "1000", "endpoints of one registration", "COUNT"),
            Flag("max_values", parsers.whole(1, 10_000_000), "30000", "JSON values in one registration", "COUNT"),
            Flag(
                "header_timeout", parsers.positive_duration, "10s", "time for a request's headers to arrive", "DURATION"
            ),
            Flag("body_timeout", parsers.positive_duration, "30s", "time for a request's body to arrive", "DURATION"),
            Flag(
                "idle_timeout",
                parsers.positive_duration,
                "75s",
                "time a connection may idle between requests",
                "DURATION",
            ),
            Flag(
                "queue_timeout",
                parsers.positive_duration,
                "750ms",
                "time a request may wait to be begun where more come than can be answered; then it is a 503",
                "DURATION",
            ),
            Flag(
                "http_channel",
                parsers.choice("fast", "stock"),
                "fast",
                "fast: ours over httptools; stock: twisted.web's own, to compare",
                "fast|stock",
            ),
        ),
    ),
    (
        "Log",
        (
            Flag(
                "log_format",
                parsers.choice("auto", "text", "json", "journald"),
                "auto",
                "auto: text on a terminal, journald's form under systemd, JSON otherwise (twistd keeps its own log"
                " unless this is given)",
                "auto|text|json|journald",
            ),
            Flag(
                "log_level",
                parsers.levels,
                "info",
                "debug, info, warn or error; others by namespace: info,sidecar.rpc=debug",
                "LEVELS",
            ),
            Flag(
                "access_log",
                parsers.choice("off", "errors", "all"),
                "errors",
                "a log line for each answer that is an error, for all of them, or for none",
                "off|errors|all",
            ),
            Flag(
                "otlp_endpoint",
                parsers.web_url,
                "",
                "OpenTelemetry collector that gets spans over OTLP/HTTP, such as http://127.0.0.1:4318; /v1/traces is "
                "added, and the standard OTEL_... variables count; needs the extra otel",
                "URL",
            ),
        ),
    ),
    (
        "Process",
        (
            Flag(
                "config",
                parsers.text,
                "",
                "file of settings, TOML; none for no file (when not given: $XDG_CONFIG_HOME/microsidecar/sidecar.toml,"
                " else /etc/microsidecar/sidecar.toml, where they are)",
                "FILE",
            ),
            Flag(
                "reactor",
                parsers.text,
                "",
                "Twisted reactor: epoll, poll, select ... (under twistd give it to twistd)",
                "NAME",
            ),
            Flag(
                "proxy_address",
                parsers.text,
                "",
                "used by the client commands of `micro`, not by the daemon",
                "ADDRESS",
            ),
        ),
    ),
)


def _reloadable(title: str, flag: Flag) -> bool:
    return title in RELOADABLE or flag.name == "log_level"


GROUPS: tuple[tuple[str, tuple[Flag, ...]], ...] = tuple(
    (title, tuple(evolve(flag, group=title, reloadable=_reloadable(title, flag)) for flag in group))
    for title, group in _GROUPS
)

FLAGS: tuple[Flag, ...] = tuple(flag for _, group in GROUPS for flag in group)

#: Every name a flag may be given by.
BY_NAME: dict[str, Flag] = {name: flag for flag in FLAGS for name in (flag.name, *flag.aliases)}
