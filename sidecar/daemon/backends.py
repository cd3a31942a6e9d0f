"""Finds registries and brokers by their entry points: the only place that knows that there is more than one kind."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from sidecar.errors import ConfigError
from sidecar.interfaces import IBroker, IRegistry
from sidecar.model import BackendOptions

if TYPE_CHECKING:
    from sidecar.daemon.cmdline.settings import EngineSettings, Settings

#: The entry-point groups, where third parties add theirs.
REGISTRIES = "microsidecar.registries"
BROKERS = "microsidecar.brokers"


@cache
def _found(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def kinds(group: str) -> tuple[str, ...]:
    """:returns: the names that ``--registry=`` (or ``--broker=``) takes, sorted."""
    return tuple(sorted(_found(group)))


def registries(settings: Settings, reactor: Any) -> IRegistry:
    """The registry of ``--registry=``: one engine's, or all of a list behind one face.

    :raises ConfigError: there is no such kind, or it cannot be made from these settings.
    """
    built = tuple(_registry(_options(engine, settings, reactor), engine.kind) for engine in settings.registry.engines)
    if len(built) == 1:
        return built[0]
    from sidecar.registry.multi import MultiRegistry

    several: IRegistry = MultiRegistry(built, reactor)
    return several


def broker(settings: Settings, reactor: Any, registry: IRegistry) -> IBroker:
    """The broker of ``--broker=``.

    :param registry: what the HTTP broker finds its peers in.
    :raises ConfigError: there is no such kind, or it cannot be made from these settings.
    """
    engine = settings.broker.engine
    built: IBroker = _build(BROKERS, "broker", engine.kind, _options(engine, settings, reactor, registry))
    return built


def _registry(options: BackendOptions, kind: str) -> IRegistry:
    built: IRegistry = _build(REGISTRIES, "registry", kind, options)
    return built


def _build(group: str, flag: str, kind: str, options: BackendOptions) -> Any:
    point = _found(group).get(kind)
    if point is None:
        raise ConfigError(unknown(group, flag, kind))
    try:
        factory = point.load()
    except Exception as error:
        # A third party's code: whatever it raises, the operator needs to hear whose it was.
        raise ConfigError(
            f"--{flag}={kind}: its entry point {point.value!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    try:
        return factory(options)
    except ConfigError as error:
        raise ConfigError(f"--{flag}={kind}: {error}") from error
    except Exception as error:
        raise ConfigError(
            f"--{flag}={kind}: {point.value!r} failed with {type(error).__name__}: {error}; check --{flag}_address"
        ) from error


def unknown(group: str, flag: str, kind: str) -> str:
    """:returns: the sentence for a kind that nobody offers."""
    return f"--{flag}={kind}: there is no such {flag}; there are {', '.join(kinds(group)) or 'none installed'}"


def _options(
    engine: EngineSettings, settings: Settings, reactor: Any, registry: IRegistry | None = None
) -> BackendOptions:
    return BackendOptions(
        reactor=reactor,
        addresses=engine.addresses,
        username=engine.username,
        password=engine.password,
        token=engine.token,
        credentials_file=engine.credentials_file,
        tls=engine.tls,
        ca_file=engine.ca_file,
        cert_file=engine.cert_file,
        key_file=engine.key_file,
        interface=engine.interface,
        listen=engine.listen,
        registry=registry,
        max_body=settings.http.max_body,
    )
