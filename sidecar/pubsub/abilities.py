"""What only some brokers can do, and which ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sidecar.errors import BadRequest
from sidecar.interfaces import IBroker, IDurableBroker

#: By the name of a request's parameter: of the brokers that come with the sidecar, those that can do it.
ABLE: Final[Mapping[str, str]] = {
    "durable": "--broker=rabbitmq",
    "ack": "--broker=rabbitmq, and --broker=nats with events=1",
    "mandatory": "--broker=rabbitmq",
    "events": "--broker=nats",
}


def able(broker: IBroker, asked: Iterable[str]) -> IDurableBroker:
    """``broker`` as one that can do what was ``asked``.

    :raises BadRequest: it cannot; the text names those that can.
    """
    abilities = broker.abilities if IDurableBroker.providedBy(broker) else frozenset()
    for name in asked:
        if name not in abilities:
            raise BadRequest(f"{name}: the {broker.state().kind} broker cannot do that; {ABLE[name]} can")
    durable: IDurableBroker = broker  # type: ignore[assignment]  # it has the abilities, unless none was asked for
    return durable
