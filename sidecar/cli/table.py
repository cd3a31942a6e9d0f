"""The one table of client commands and their flags: parsing, help, man page, completion and documents come from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A flag of a client command.

    :ivar name: spelled with ``_``; people may write ``-``. :ivar metavar: what stands for its value; "" for a switch.
    :ivar env: the environment variable that is read where the flag is not given.
    :ivar choices: the values that there are, where they are few. :ivar repeatable: may be given several times.
    :ivar short: its letter.
    :ivar optional: its value where none is written after ``=``; "" where one has to be.
    """

    name: str
    help: str
    metavar: str = ""
    default: str = ""
    env: str = ""
    choices: tuple[str, ...] = ()
    repeatable: bool = False
    short: str = ""
    optional: str = ""


@dataclass(frozen=True)
class Command:
    """A client command.

    :ivar words: what it is called: ``list services``. :ivar arguments: what follows, as help writes it.
    :ivar summary: one line. :ivar run: ``module:function`` below ``sidecar.cli.commands``.
    :ivar options: its own flags. :ivar details: more for its own help. :ivar aliases: its other names.
    :ivar examples: command lines that work.
    :ivar local: whether it talks to no sidecar.
    :ivar passes: whether it takes the daemon's own flags too.
    :ivar program: whether the command line of a program follows, whose flags are not ours.
    """

    words: str
    arguments: str
    summary: str
    run: str
    options: tuple[Option, ...] = ()
    details: str = ""
    aliases: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    local: bool = False
    passes: bool = False
    program: bool = False


#: Flags that every command takes.
COMMON: tuple[Option, ...] = (
    Option(
        "proxy_address",
        "the sidecar: host:port, https://host:port or unix:/path",
        "ADDRESS",
        "127.0.0.1:8081",
        env="MICRO_PROXY_ADDRESS",
    ),
    Option("token_file", "holds the token to show to the sidecar, unless it is in $MICRO_TOKEN", "FILE"),
    Option("ca_file", "authorities to trust on https, PEM", "FILE", env="MICRO_CA_FILE"),
    Option("cert_file", "our certificate, where the sidecar wants one, PEM", "FILE"),
    Option("key_file", "its key, PEM", "FILE"),
    Option("insecure", "trust any certificate"),
    Option("timeout", "how long to wait for an answer, such as 10 or 1m", "DURATION", "60"),
    Option("help", "show this text", short="h"),
    Option("version", "show the version", short="v"),
)

_OUTPUT = Option("output", "how to print data", "FORM", "table", choices=("table", "json", "yaml"))
_FORMAT = Option("format", "print bodies, or whole messages", "FORM", "text", choices=("text", "json"))
_QUEUE = Option("queue", "share the messages with others of this queue", "NAME")
_ROLES = ("read", "register", "call", "publish", "subscribe", "admin")
_TOKENS = Option("file", "the file of the tokens", "FILE", env="MICRO_AUTH_TOKENS")
_COUNT = Option("count", "leave after this many", "N", "0")
_FOLLOW = Option("follow", "connect again when the connection ends", short="f")

WAIT = Option("wait", "wait this long for it", "DURATION")

COMMANDS: tuple[Command, ...] = (
    Command(
        "dev",
        "[--] PROGRAM [ARGUMENTS]",
        "run an app and a sidecar beside it, and show what passes",
        "dev:dev",
        (
            Option("name", "the service that the app is (when not given: the name of this directory)", "NAME"),
            Option("app_port", "where it listens (when not given: the port at which it begins to listen)", "PORT"),
            Option("protocol", "what it speaks, as --server_protocol", "PROTOCOL", choices=("jsonrpc", "http")),
            Option(
                "watch",
                "start it again when a file in PATH changes; alone: in this directory",
                "PATH",
                repeatable=True,
                optional=".",
            ),
        ),
        details="Takes the flags of the sidecar too. The app is registered as soon as it listens, and started again "
        "when it ends. Its log, the sidecar's and each call stand in lines of their own. Ctrl-C takes the app out of "
        "the registry, ends it with all that it started, and the sidecar last; again: at once. The app finds the "
        "sidecar by $MICRO_PROXY_ADDRESS, and --app_port as $PORT.",
        examples=("micro dev --name foo --protocol http --watch -- flask --app app run --port 9090",),
        local=True,
        passes=True,
        program=True,
    ),
    Command(
        "list services",
        "",
        "names of all services, one a line",
        "services:list_services",
        (_OUTPUT,),
        aliases=("list service",),
        examples=("micro --proxy_address=127.0.0.1:8081 list services",),
    ),
    Command("services", "", "all services with versions and numbers of nodes", "services:services", (_OUTPUT,)),
    Command("nodes", "SERVICE", "the nodes of a service", "services:nodes", (_OUTPUT,)),
    Command(
        "get service",
        "SERVICE",
        "versions, nodes and endpoints of a service",
        "services:get",
        (_OUTPUT,),
        aliases=("get services",),
    ),
    Command(
        "register service",
        "JSON",
        "register a service by hand",
        "services:register",
        (Option("ttl", "take it out again after this time unless it is renewed, such as 30s", "DURATION"),),
        aliases=("register services",),
        examples=('micro register service \'{"name":"foo","nodes":[{"id":"foo-1","address":"127.0.0.1:9090"}]}\'',),
    ),
    Command(
        "deregister service",
        "JSON",
        "take a service out by hand",
        "services:deregister",
        aliases=("deregister services",),
    ),
    Command(
        "call",
        "SERVICE METHOD [JSON]",
        "call a method of a service",
        "calls:call",
        (
            Option("explain", "print which nodes were tried, when, and how each attempt ended"),
            Option("service_version", "call only nodes of this version", "VERSION"),
            Option("metadata", "a header that goes along", "NAME=VALUE", repeatable=True),
            Option("output", "how to print the answer", "FORM", "json", choices=("json", "yaml")),
        ),
        aliases=("query",),
        examples=('micro call foo Say.Hello \'{"name": "John"}\'', "micro call --explain foo Say.Hello"),
    ),
    Command("health", "SERVICE", "ask every node of a service how it is", "calls:health", (_OUTPUT,)),
    Command("stats", "SERVICE", "ask every node of a service for its numbers", "calls:stats", (_OUTPUT,)),
    Command(
        "publish",
        "TOPIC [BODY]",
        "publish a message; without BODY, standard input",
        "messages:publish",
        examples=('micro publish news \'{"hello": "world"}\'', "date | micro publish news"),
    ),
    Command(
        "subscribe",
        "TOPIC",
        "print messages, one a line, until interrupted",
        "messages:subscribe",
        (_QUEUE, _FORMAT, _COUNT, _FOLLOW),
        examples=("micro subscribe -f news",),
    ),
    Command(
        "watch",
        "[SERVICE]",
        "print what comes and goes in the registry, as it happens",
        "journal:watch",
        (_OUTPUT, _COUNT, _FOLLOW),
        examples=("micro watch", "micro watch greeter -f --output=json"),
    ),
    Command(
        "log",
        "[SERVICE]",
        "what came and went in the registry, when and why",
        "journal:log",
        (
            Option("since", "only what is newer: 1h, 30m, or a time such as 2026-11-25T03:00:00Z", "TIME"),
            Option("reason", "only what happened for this reason", "REASON"),
            Option("limit", "the newest this many", "N"),
            _OUTPUT,
        ),
    ),
    Command(
        "tap",
        "[SERVICE]",
        "print calls as they end: service, method, node, milliseconds, outcome",
        "live:tap",
        (
            Option("bodies", "show requests and replies too; takes the role admin"),
            Option("rate", "calls a second at most", "N"),
            _OUTPUT,
            _COUNT,
        ),
        examples=("micro tap foo",),
    ),
    Command(
        "top",
        "",
        "services and nodes by rate, errors and latency, kept fresh",
        "live:top",
        (_COUNT,),
        examples=("micro top", "micro top --count=1"),
    ),
    Command(
        "doctor",
        "",
        "look for what can be wrong with a sidecar and around it, and say how to mend it",
        "doctor:doctor",
        (_OUTPUT,),
        details="Takes the flags of the sidecar (or --config) and looks at its port, engines, apps, certificates, "
        "clocks, descriptors and data directory; with --proxy_address alone it asks a sidecar that runs. Exits with 0 "
        "when all is well and with 1 when something was found.",
        examples=(
            "micro doctor --server_name=foo --server_address=127.0.0.1:9090",
            "micro doctor --proxy_address=127.0.0.1:8081",
        ),
        passes=True,
    ),
    Command(
        "drain",
        "[APP]",
        "take the apps out of the registry, and say when it is safe to stop",
        "operations:drain",
        (Option("timeout", "how long to wait for calls under way", "DURATION", "30s"),),
        details="Waits --drain_delay of the sidecar for the news to spread, then for calls under way. Exits with 124 "
        "when some are still under way in the end. `micro maint off` brings the apps back.",
    ),
    Command(
        "maint",
        "on|off [APP]",
        "keep apps out of the registry, or let them in again",
        "operations:maintenance",
        (Option("reason", "why, for all who look", "TEXT"),),
    ),
    Command("ready", "[APP]", "whether calls should come", "operations:ready", (WAIT,)),
    Command(
        "reload",
        "",
        "have the sidecar read its files again, and say what needs a restart",
        "operations:reload",
        details="Does what SIGHUP does: apps, checks, certificates and log levels change without dropping a connection."
        " Where something in the files is no good nothing changes, and it is said where.",
    ),
    Command(
        "repair",
        "",
        "save what can be read of a data directory that the sidecar says is damaged",
        "state:repair",
        (Option("data_dir", "the directory", "DIR", env="MICRO_DATA_DIR"), _OUTPUT),
        details="Writes a new file in place of the damaged one, which is kept beside it.",
        examples=("micro repair --data_dir /var/lib/microsidecar",),
        local=True,
    ),
    Command(
        "check-config",
        "",
        "read the settings of a sidecar and say what is wrong with them",
        "config:check_config",
        (
            Option("explain", "print each value with what it came from: flag, variable, line of the file, default"),
            _OUTPUT,
        ),
        aliases=("check_config",),
        details="Takes the flags of the sidecar, --config among them, and reads the environment as it would. Exits "
        "with 0 when it would start with them and with 2 when something is wrong.",
        examples=("micro check-config --config=sidecar.toml --explain",),
        local=True,
        passes=True,
    ),
    Command(
        "token new",
        "NAME",
        "make a token for callers of a sidecar, and print it, once",
        "tokens:new",
        (
            Option("role", "what it is for; may be repeated", "ROLE", choices=_ROLES, repeatable=True),
            Option("service", "only for services of this pattern, such as shop.*", "PATTERN", repeatable=True),
            Option("topic", "only for topics of this pattern", "PATTERN", repeatable=True),
            Option("expires", "until when it is good: a time from now such as 90d, or a date", "WHEN"),
            _TOKENS,
        ),
        details="The file, which --auth_tokens of the sidecar names, holds a hash of it and what it may do. A sidecar "
        "that runs takes the change at once.",
        examples=("micro token new web --role call --role read --service 'shop.*' --expires 90d --file tokens.toml",),
        local=True,
    ),
    Command(
        "token list",
        "",
        "the tokens in a file, and what they may do",
        "tokens:list_tokens",
        (_TOKENS, _OUTPUT),
        local=True,
    ),
    Command(
        "token revoke",
        "NAME",
        "take a token out of the file: it is good for nothing from then on",
        "tokens:revoke",
        (_TOKENS,),
        examples=("micro token revoke web --file tokens.toml",),
        local=True,
    ),
    Command(
        "completion",
        "SHELL",
        "print the completion script of bash, zsh or fish",
        "shell:completion",
        local=True,
        examples=("micro completion bash >~/.local/share/bash-completion/completions/micro",),
    ),
)


def find(words: list[str]) -> tuple[Command, list[str]] | None:
    """:returns: the command that ``words`` begin with, and the words after its name; the longest name wins."""
    for length in (2, 1):
        name = " ".join(words[:length])
        for command in COMMANDS:
            if len(words) >= length and name in (command.words, *command.aliases):
                return command, words[length:]
    return None


def option(name: str, command: Command | None = None) -> Option | None:
    """:param name: with ``_``, or a letter. :param command: None for any command's flags.
    :returns: the flag of that name, or None."""
    own = command.options if command is not None else tuple(one for each in COMMANDS for one in each.options)
    for each in (*own, *COMMON):
        if name in (each.name, each.short):
            return each
    return None
