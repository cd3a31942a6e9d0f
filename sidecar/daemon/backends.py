"""Makes the registry and the broker of the settings: the only place that knows that there is more than one kind."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.application import service
from zope.interface.exceptions import BrokenImplementation, BrokenMethodImplementation, Invalid
from zope.interface.verify import verifyObject

from sidecar.daemon.cmdline.kinds import BROKERS, REGISTRIES, found, unknown
from sidecar.daemon.cmdline.settings import Settings
from sidecar.errors import ConfigError
from sidecar.interfaces import IBroker, IRegistry
from sidecar.model import BackendOptions
from sidecar.net.errors import InvalidSetting
from sidecar.redaction import redacted

#: What each group's factories have to make.
_SEAMS: dict[str, Any] = {REGISTRIES: IRegistry, BROKERS: IBroker}


def registries(settings: Settings, reactor: Any, store: Any = None) -> IRegistry:
    """The registry of ``--registry=``: one engine's, or all of a list behind one face.

    :param store: where the embedded one keeps what a restart is to find, None for nowhere.
    :raises ConfigError: there is no such kind, or it cannot be made from these settings.
    """
    most = settings.http.max_body
    built = tuple(
        _build(REGISTRIES, "registry", evolve(engine, reactor=reactor, max_body=most, store=store))
        for engine in settings.registry.engines
    )
    if len(built) == 1:
        only: IRegistry = built[0]
        return only
    from sidecar.registry.multi import MultiRegistry

    together: IRegistry = MultiRegistry(built, reactor)
    return together


def broker(settings: Settings, reactor: Any, registry: IRegistry, budget: Any = None) -> IBroker:
    """The broker of ``--broker=``.

    :param registry: what the HTTP broker finds its peers in. :param budget: what may be kept for all peers together.
    :raises ConfigError: there is no such kind, or it cannot be made from these settings.
    """
    engine = settings.broker.engine
    options = evolve(engine, reactor=reactor, registry=registry, max_body=settings.http.max_body, hosts=settings.hosts)
    options = evolve(options, rules=settings.client.rules, budget=budget, queue_timeout=settings.http.queue_timeout)
    built: IBroker = _build(BROKERS, "broker", options)
    return built


def _build(group: str, flag: str, options: BackendOptions) -> Any:
    kind = options.kind
    point = found(group).get(kind)
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
        built = factory(options)
    except (ConfigError, InvalidSetting) as error:
        raise ConfigError(f"{_named(flag, options, str(error))}: {error}") from error
    except Exception as error:
        raise ConfigError(
            f"--{flag}={kind}: {point.value!r} failed with {type(error).__name__}: {error}; check --{flag}_address"
        ) from error
    lacks = _lacks(_SEAMS[group], built)
    if lacks:
        raise ConfigError(
            f"--{flag}={kind}: {point.value!r} was written for another version of microsidecar: {'; '.join(lacks)}"
            " (see docs/example-backend)"
        )
    return built


def _named(flag: str, options: BackendOptions, message: str) -> str:
    """:returns: the flag that ``message`` speaks of: the file or address in it, else the one that names the backend."""
    files = {f"{flag}_{name}_file": getattr(options, f"{name}_file") for name in ("ca", "cert", "key")}
    files[f"{flag}_credentials"] = options.credentials_file
    for name, path in files.items():
        if path and path in message:
            return f"--{flag}={options.kind} --{name}={path}"
    for address in options.addresses:
        if redacted(address) in redacted(message):
            return f"--{flag}={options.kind} --{flag}_address={redacted(address)}"
    return f"--{flag}={options.kind}"


def _lacks(seam: Any, built: Any) -> list[str]:
    """What keeps ``built`` from being what it is used as, one phrase a method; empty where nothing does."""
    lacks = []
    if not service.IService.providedBy(built):
        lacks.append("it is no twisted.application.service.IService")
    try:
        verifyObject(seam, built)
    except Invalid as faults:
        # One fault is raised as it is, several together as a MultipleInvalid.
        lacks += [_phrase(one, seam) for one in getattr(faults, "exceptions", (faults,))]
    return lacks


def _phrase(lack: Any, seam: Any) -> str:
    if isinstance(lack, BrokenMethodImplementation):
        wanted = lack.method
        return f"its {wanted.getName()} is not {wanted.getName()}{wanted.getSignatureString()}"
    if isinstance(lack, BrokenImplementation):
        return f"it has no {lack.name.getName()}" if hasattr(lack.name, "getName") else f"it has no {lack.name}"
    return f"it does not say that it implements {seam.__name__}"
