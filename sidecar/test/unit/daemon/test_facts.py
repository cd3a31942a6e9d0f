"""What the daemon tells of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.facts import away
from sidecar.model import BackendState


def engine(kind: str, connected: bool) -> Any:
    state = BackendState(kind=kind, connected=connected, detail="connection refused")
    return SimpleNamespace(state=lambda: state)


class Away(SynchronousTestCase):
    def test_engines(self) -> None:
        """Whoever asks whether we are ready is warned of each engine that is away, by its name and why."""
        for registry, broker, warned in ((True, True, []), (False, True, ["etcd"]), (False, False, ["etcd", "nats"])):
            told = away(engine("etcd", registry), engine("nats", broker))
            self.assertEqual([text.partition(" is away")[0] for text in told], warned)
            self.assertTrue(all("connection refused" in text for text in told))
