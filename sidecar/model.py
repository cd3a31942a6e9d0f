"""The frozen values that all packages pass to one another; go-micro's names where go-micro has one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import evolve, field, frozen

if TYPE_CHECKING:
    from attrs import frozen as one_a_call
else:
    # Values of which each call makes one are frozen for mypy alone: making a frozen one takes three times as long.
    from attrs import define as one_a_call

#: Shared by every value without metadata, so that 100,000 nodes do not carry 100,000 empty dicts.
EMPTY: Mapping[str, str] = MappingProxyType({})


@frozen
class Value:
    """A field of a request or response, as go-micro's reflection describes it."""

    name: str
    type: str = ""
    values: tuple[Value, ...] = ()


@frozen
class Endpoint:
    """One method that a service offers (or one topic that it subscribes to)."""

    name: str
    request: Value | None = None
    response: Value | None = None
    metadata: Mapping[str, str] = EMPTY


@frozen
class Node:
    """One running instance of a service.

    :ivar id: unique among all nodes of all services; ``<service name>-<uuid>`` by custom.
    :ivar address: the host alone: a name or an IP literal without brackets.
    :ivar port: 1 to 65535; 0 where it has none: it is reached by another transport than TCP, and ``address`` is what
        that transport calls it.
    """

    id: str
    address: str
    port: int
    metadata: Mapping[str, str] = EMPTY

    @property
    def hostport(self) -> str:
        """The joined form ``host:port``, with an IPv6 literal in brackets; the address alone where there is no port."""
        if not self.port:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@frozen
class Service:
    """A service at one version, with the nodes that run that version."""

    name: str
    version: str = ""
    metadata: Mapping[str, str] = EMPTY
    endpoints: tuple[Endpoint, ...] = ()
    nodes: tuple[Node, ...] = ()


@frozen
class Message:
    """A published message. Header names are kept as written."""

    header: Mapping[str, str]
    body: bytes


#: What a caller may be allowed to do; ``admin`` includes all the others.
ROLES: Final = frozenset(("read", "register", "call", "publish", "subscribe", "admin"))


@frozen
class Caller:
    """Who asks: whoever calls, publishes, subscribes or registers through this sidecar.

    :ivar name: what they are known by, for logs and receipts; "" for somebody unknown.
    :ivar roles: what they may do, from :data:`ROLES`: all of it, where callers are not told apart.
    :ivar address: the IP literal, or path of the Unix socket, that they came from; "" where it is not known.
    :ivar authenticated_by: how they showed who they are (``token``, ``certificate``, ``uid``), "" where they did not.
    :ivar services: patterns of the services that their roles are for, None for all. :ivar topics: the same of topics.
    """

    name: str = ""
    roles: frozenset[str] = ROLES
    address: str = ""
    authenticated_by: str = ""
    services: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """Who it was, as a :class:`Change` tells it."""
        return f"caller {self.name or self.address}".rstrip()


#: Somebody who showed no credentials, or this sidecar itself.
ANONYMOUS: Final = Caller()


@one_a_call
class Call:
    """A request to a service, its payload still in the caller's bytes.

    :ivar request: the payload exactly as it came: JSON text, or protobuf when ``content_type`` says so.
    :ivar metadata: what goes along as headers; names that would disturb the wire are stripped already.
    :ivar address: ``host:port`` of the only node that may be called, or None for any.
    :ivar version: the only version of the service that may be called, or None for any.
    :ivar lines: header lines of ours that go along as they are: the id of a request that came without.
    :ivar verb: the method of HTTP by which a service is called whose methods are paths, "" for POST.
    """

    service: str
    method: str
    request: bytes = b"{}"
    content_type: str = "application/json"
    metadata: Mapping[str, str] = EMPTY
    address: str | None = None
    version: str | None = None
    lines: bytes = b""
    verb: str = ""


@one_a_call
class Reply:
    """What a service answered, in its own bytes."""

    body: bytes
    content_type: str = "application/json"


@frozen
class Fault:
    """go-micro's error object. :ivar code: an HTTP-like status, 0 when the service gave none."""

    id: str
    code: int
    detail: str
    status: str


class Outcome(Enum):
    """How a call, or one attempt of it at one node, ended.

    What a service answers is its own affair; the others tell of the node, the way to it, or us.
    """

    __hash__ = object.__hash__  # Enum's own is a call of Python

    #: The service answered well.
    ANSWERED = "answered"
    #: The service answered with an error of its own.
    FAULT = "fault"
    #: Nobody took the request: no connection, or a node that says it did not begin. It cannot have run.
    REFUSED = "refused"
    #: No answer of the service: the connection was reset, the answer malformed, or a 5xx without an error envelope.
    BROKEN = "broken"
    #: The time was over before the answer came.
    TIMED_OUT = "timed out"
    #: There is no such service, or none of its nodes can be called: nobody was asked.
    NOT_FOUND = "not found"
    #: We ended it, which tells nothing of the node: the caller left, a queue of ours was full, we are stopping.
    CANCELLED = "cancelled"


@frozen
class Attempt:
    """One try of a call at one node.

    :ivar address: ``host:port`` that was tried.
    :ivar queued: milliseconds spent waiting for a connection that others used.
    :ivar connecting: milliseconds spent waiting for a connection to be made.
    :ivar waiting: milliseconds from sending the request to the end.
    :ivar detail: what happened, in words; "" where it was answered.
    :ivar next: what came next: the caller was answered, another try followed at once, or after a pause, or none did.
    :ivar why: why that came next, in words.
    """

    node: Node
    address: str
    queued: float
    connecting: float
    waiting: float
    outcome: Outcome
    detail: str = ""
    next: Literal["answer", "retry", "wait", "give up"] = "answer"
    why: str = ""


@frozen
class CallPolicy:
    """How hard to try.

    :ivar timeout: seconds for the whole call, attempts and backoff included.
    :ivar retries: attempts after the first.
    :ivar retry: ``safe`` repeats only what cannot have run; ``error`` is go-micro's 408/500 rule; ``never``.
    """

    timeout: float = 5.0
    retries: int = 1
    retry: Literal["safe", "error", "never"] = "safe"


@frozen
class SubscribeOptions:
    """What a subscription asks of the broker beyond hearing a topic.

    :ivar queue: the queue group that shares the messages, None for nobody.
    :ivar durable: the name of the queue that lasts while nobody listens, None for a subscription that does not.
    :ivar ack: whether a message counts as taken only when its subscriber says so.
    :ivar events: whether go-micro's events are meant instead of its messages.
    """

    queue: str | None = None
    durable: str | None = None
    ack: bool = False
    events: bool = False

    @property
    def asked(self) -> tuple[str, ...]:
        """The abilities that a broker needs for this, by the names of the request's parameters."""
        return tuple(
            name for name, wanted in (("durable", self.durable), ("ack", self.ack), ("events", self.events)) if wanted
        )


@frozen
class PublishOptions:
    """What a publisher asks of the broker beyond taking a message.

    :ivar mandatory: whether it is an error that nobody is subscribed.
    :ivar events: whether go-micro's events are meant instead of its messages.
    """

    mandatory: bool = False
    events: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing is asked that not every broker can do."""
        return not (self.mandatory or self.events)

    @property
    def asked(self) -> tuple[str, ...]:
        """As for :class:`SubscribeOptions`."""
        return tuple(name for name, wanted in (("mandatory", self.mandatory), ("events", self.events)) if wanted)


Action = Literal["create", "update", "delete"]

#: Why something changed in a registry: the closed list.
Reason = Literal[
    "registered",
    "changed",
    "deregistered",
    "expired",
    "check failed",
    "check passed",
    "drained",
    "maintenance",
    "restored",
    "engine",
]

#: The reason of an action of which nothing else is known.
NATURAL: Final[Mapping[Action, Reason]] = MappingProxyType(
    {"create": "registered", "update": "changed", "delete": "deregistered"}
)


@frozen
class Cause:
    """Why a registration is made or taken out, as far as whoever does it knows.

    :ivar reason: None leaves it to the action: ``registered``, ``changed`` or ``deregistered``.
    :ivar detail: in words: what a check answered, what an engine said.
    :ivar by: who: ``caller NAME``, ``check``, ``ttl``, ``drain``, ``engine etcd``; "" leaves it to the caller's name.
    """

    reason: Reason | None = None
    detail: str = ""
    by: str = ""

    def asked_by(self, caller: Caller) -> Cause:
        """This cause, with ``caller`` as who did it where it does not say."""
        return self if self.by else evolve(self, by=str(caller))


#: Nothing is said of why.
UNSAID: Final = Cause()
#: What a Change says of a node of ours whose id somebody else's newer live registration has taken.
TAKEN_OVER: Final = "another live registration has taken this id"


def _has_nodes(change: Change, attribute: object, service: Service) -> None:
    if not service.nodes:
        raise ValueError(f"a Change of {service.name!r} without nodes; use invalidated(name)")


@frozen
class Change:
    """What happened to nodes of a service. There is no Change without nodes.

    :ivar action: they came, altered, or went.
    :ivar service: the service at one version, with just the nodes that changed.
    :ivar reason: why, of a closed list.
    :ivar detail: why in words, "" where there is no more to say.
    :ivar by: who did it: ``caller NAME``, ``check``, ``ttl``, ``drain``, ``engine etcd``; "" where it is not known.
    :ivar time: when it was noticed, in seconds since the epoch. Changes that differ in nothing else are equal.
    """

    action: Action
    service: Service = field(validator=_has_nodes)
    reason: Reason
    detail: str = ""
    by: str = ""
    time: float = field(default=0.0, eq=False)

    @classmethod
    def of(cls, action: Action, service: Service, cause: Cause = UNSAID) -> Change:
        """A change whose time is not told yet."""
        return cls(action, service, cause.reason or NATURAL[action], cause.detail, cause.by)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Those that changed; never empty."""
        return self.service.nodes


@frozen
class BackendState:
    """How a registry or broker stands with its engine.

    :ivar kind: the backend's name, as in ``--registry=``.
    :ivar connected: whether the engine answered last.
    :ivar stale_since: when reads began to be answered from memory (seconds since the epoch), or None while fresh.
    :ivar detail: the last error in words, "" while all is well.
    """

    kind: str
    connected: bool = True
    stale_since: float | None = None
    detail: str = ""


@frozen
class BackendOptions:
    """What the factory of a registry or broker is given: everything a flag can say to it.

    :ivar reactor: for connections and as the clock; None as long as nothing is built from these options.
    :ivar addresses: ``host:port`` or URLs in the order to try; empty for the engine's own default.
    :ivar tls: speak TLS to the engine.
    :ivar credentials_file: a NATS ``.creds`` or nkey seed file.
    :ivar interface: the IP address of the interface to multicast on, "" for the default one.
    :ivar listen: ``host:port`` of a listener that the backend opens itself (the HTTP broker), "" for loopback.
    :ivar registry: the registry in use, given to brokers only.
    :ivar store: where the embedded registry keeps what a restart is to find, None for nowhere.
    :ivar max_body: bytes of the largest message or answer to take.
    :ivar kind: the name of the backend's entry point, as in ``--registry=``.
    :ivar rules: judge the addresses that peers are registered with, given to brokers only; None for any.
    :ivar hosts: names by which a listener of the backend's own may be asked, besides those of this machine.
    :ivar budget: of memory, told of what is kept for peers; given to brokers only, None for nobody.
    :ivar queue_timeout: seconds that what comes to a listener of the backend's own may wait for its turn.
    :ivar events_create: whether a stream that events need is made where it is missing.
    """

    reactor: Any = None
    addresses: tuple[str, ...] = ()
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    credentials_file: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    interface: str = ""
    listen: str = ""
    registry: Any = None
    store: Any = None
    max_body: int = 4 * 1024 * 1024
    kind: str = "memory"
    hosts: tuple[str, ...] = ()
    rules: Any = None
    budget: Any = None
    queue_timeout: float = 0.75
    events_create: bool = False
