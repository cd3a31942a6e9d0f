"""Which log lines are wanted: a level for all, and others by namespace."""

from __future__ import annotations

from attrs import field, frozen
from twisted.logger import LogEvent, LogLevel

#: By the names that ``--log_level`` takes.
LEVELS = {"debug": LogLevel.debug, "info": LogLevel.info, "warn": LogLevel.warn, "error": LogLevel.error}
_ORDER = {level: place for place, level in enumerate((*LEVELS.values(), LogLevel.critical))}
#: What is of no use to an operator unless asked for: Twisted tells of every port and factory.
_QUIET = {"twisted": LogLevel.warn, "txaio": LogLevel.warn, "autobahn": LogLevel.warn, "log_legacy": LogLevel.warn}


@frozen
class Levels:
    """The lowest level that is written, by default and for namespaces.

    :ivar default: where no namespace says otherwise. :ivar named: by namespace; it holds for all below it too.
    """

    default: str = "info"
    named: tuple[tuple[str, str], ...] = ()
    _known: dict[str, int] = field(factory=dict, init=False, repr=False, eq=False)

    @classmethod
    def parse(cls, text: str) -> Levels:
        """:param text: ``info`` or ``info,sidecar.rpc=debug``. :raises ValueError: with what is wrong."""
        default, named = "info", []
        for part in filter(None, (part.strip() for part in text.split(","))):
            namespace, equals, level = part.rpartition("=")
            level = {"warning": "warn"}.get(level.strip().lower(), level.strip().lower())
            if level not in LEVELS:
                raise ValueError(f"{level!r} is no level; there are {', '.join(LEVELS)}")
            if equals:
                named.append((namespace.strip(), level))
            else:
                default = level
        return cls(default, tuple(named))

    def __str__(self) -> str:
        return ",".join([self.default, *(f"{name}={level}" for name, level in self.named)])

    def wants(self, event: LogEvent) -> bool:
        """Whether the event is to be written. Failures always are."""
        if event.get("log_failure") is not None:
            return True
        namespace = str(event.get("log_namespace", "-"))
        least = self._known.get(namespace)
        if least is None:
            if len(self._known) > 1000:
                self._known.clear()
            least = self._known[namespace] = self._least(namespace)
        return _ORDER.get(event.get("log_level") or LogLevel.info, 1) >= least

    def _least(self, namespace: str) -> int:
        given = [(name, LEVELS[level]) for name, level in self.named]
        ours = [(name, level) for name, level in given if _below(namespace, name)]
        if ours:
            return _ORDER[max(ours, key=lambda one: len(one[0]))[1]]
        least = _ORDER[LEVELS[self.default]]
        if self.default != "debug":
            least = max([least, *(_ORDER[level] for name, level in _QUIET.items() if _below(namespace, name))])
        return least


def _below(namespace: str, name: str) -> bool:
    return namespace == name or namespace.startswith(f"{name}.")
