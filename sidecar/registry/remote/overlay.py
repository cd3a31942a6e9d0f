"""What we wrote to an engine lately, to be laid over answers that may be from before. Pure."""

from __future__ import annotations

from attrs import define, field

from sidecar.model import Service
from sidecar.registry.catalog import Catalog


@define(eq=False)
class _Write:
    """:ivar at: the tick. :ivar service: with the node as we wrote it; None: we took it out."""

    at: int
    service: Service | None


@define(eq=False)
class WriteOverlay:
    """Orders questions and writes by ticks, and keeps each write until a question asked after it was answered."""

    #: The tick of the last write.
    last: int = 0
    _tick: int = 0
    _writes: dict[str, dict[str, _Write]] = field(factory=dict)

    def tick(self) -> int:
        """The time of a question that is about to be asked."""
        self._tick += 1
        return self._tick

    def wrote(self, name: str, identity: str, service: Service | None, *, keep: bool) -> None:
        """Note a write that the engine took. :param keep: whether an answer from before may still come."""
        self.last = self.tick()
        if keep:
            self._writes.setdefault(name, {})[identity] = _Write(self.last, service)

    def has(self, name: str, identity: str) -> bool:
        """Whether no answer has confirmed the last write to this node yet."""
        return identity in self._writes.get(name, ())

    def forget(self, name: str) -> None:
        self._writes.pop(name, None)

    def apply(self, name: str, answer: Catalog, asked: int) -> bool:
        """Correct ``answer``, which was asked for at tick ``asked``.

        :returns: whether anything was written since: the next answer is to say what became of it.
        """
        writes = self._writes.get(name, {})
        for identity, write in tuple(writes.items()):
            if write.at <= asked:
                del writes[identity]
            elif write.service is None:
                answer.drop(name, (identity,))
            else:
                answer.put(write.service)
        if not writes:
            self.forget(name)
        return bool(writes)
