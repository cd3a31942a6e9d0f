"""Kills a daemon while apps register at it, again and again, and compares what was acknowledged with what is left.

``sidecar.test.faults.test_kill`` does it a few times, ``python -m bench.soak --kills 200`` as often as one likes.
"""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from attrs import define, field

from sidecar.test.doubles.programs.daemon import Daemon, running_daemon

#: Apps that register at a time.
WRITERS = 4
#: What a daemon acknowledges at most before it is killed.
MOST = 120
#: Seconds within which anything has to happen on a loaded machine.
PATIENCE = 60.0


@define(eq=False)
class Ledger:
    """What apps were told. :ivar present: acknowledged, and neither taken out nor able to expire meanwhile.
    :ivar gone: taken out, or seen to have expired. :ivar unknown: asked for when the daemon was killed, so either way.
    :ivar acknowledged: how many answers there were."""

    present: set[str] = field(factory=set)
    gone: set[str] = field(factory=set)
    unknown: set[str] = field(factory=set)
    acknowledged: int = 0
    _lock: threading.Condition = field(factory=threading.Condition)

    def asked(self, name: str) -> None:
        """Whatever comes of it until there is an answer."""
        with self._lock:
            for known in (self.present, self.gone):
                known.discard(name)
            self.unknown.add(name)

    def answered(self, name: str, there: bool | None) -> None:
        """It was acknowledged. :param there: whether it is there from now on; None: it will expire soon."""
        with self._lock:
            if there is not None:
                self.unknown.discard(name)
                (self.present if there else self.gone).add(name)
            self.acknowledged += 1
            self._lock.notify_all()

    def wait(self, count: int, living: Callable[[], bool]) -> None:
        """Until so many answers have come."""
        with self._lock:
            self._lock.wait_for(lambda: self.acknowledged >= count or not living(), PATIENCE)

    def compared(self, found: set[str]) -> list[str]:
        """Judge what a daemon knows; what was unknown is known from then on. :returns: each difference, in words."""
        wrong = [f"{name} was acknowledged and is lost" for name in sorted(self.present - found)]
        wrong += [f"{name} was gone and is there" for name in sorted(self.gone & found)]
        wrong += [f"{name} was never asked for" for name in sorted(found - self.present - self.gone - self.unknown)]
        for name in [name for name in self.unknown if not name.startswith("brief")]:
            self.unknown.discard(name)
            (self.present if name in found else self.gone).add(name)
        return wrong


@define(eq=False)
class KillRounds:
    """Daemons on one directory, one after the other, each of them killed.

    :ivar home: the directory. :ivar chance: when they are killed, and what apps do.
    :ivar rounds: how many were killed so far.
    """

    home: Path
    chance: Random
    ledger: Ledger = field(factory=Ledger, init=False)
    rounds: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)

    def round(self) -> list[str]:
        """Start a daemon, judge what it knows, have apps register, and kill it. :returns: what is wrong, in words."""
        with running_daemon([f"--data_dir={self.home}", "--log_level=warn,sidecar.daemon=info"]) as daemon:
            wrong = self.ledger.compared(names(daemon))
            before = self.ledger.acknowledged
            # Now and then before anybody asked for anything.
            count = self.chance.choice((0, self.chance.randrange(MOST), self.chance.randrange(MOST)))
            writers = [self._writer(daemon) for _ in range(WRITERS)]
            for writer in writers:
                writer.start()
            self.ledger.wait(before + count, lambda: any(writer.is_alive() for writer in writers))
            daemon.signal(signal.SIGKILL)
            daemon.wait()
            for writer in writers:
                writer.join(PATIENCE)
            self.rounds += 1
            if "Traceback" in daemon.output:
                wrong.append(f"its log has a traceback: {daemon.output[-2000:]}")
            return wrong

    def last(self) -> list[str]:
        """Judge what a last daemon knows. :returns: what is wrong, in words."""
        with running_daemon([f"--data_dir={self.home}"]) as daemon:
            return self.ledger.compared(names(daemon))

    def _writer(self, daemon: Daemon) -> threading.Thread:
        self._number += 1
        writer = _Writer(daemon.port, self._number, Random(self.chance.random()), self.ledger)
        return threading.Thread(target=writer.run, daemon=True)


@define(eq=False)
class _Writer:
    """An app that registers, renews and takes out, until nobody answers any more."""

    _port: int
    _number: int
    _chance: Random
    _ledger: Ledger

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        mine: list[str] = []
        try:
            for count in range(MOST):
                kind = self._chance.choice(("lasting", "leased", "brief", "renewed", "deregistered"))
                if mine and kind in ("renewed", "deregistered"):
                    name = self._chance.choice(mine)
                    if kind == "deregistered":
                        mine.remove(name)
                        self._ask(connection, "DELETE", "/registry", name, there=False)
                        continue
                    self._ask(connection, "POST", "/registry?ttl=2h", name, there=True)
                    continue
                kind = kind if kind in ("leased", "brief") else "lasting"
                name = f"{kind}-{self._number}-{count}"
                ttl = {"lasting": "", "leased": "?ttl=1h", "brief": "?ttl=1ms"}[kind]
                self._ask(connection, "POST", f"/registry{ttl}", name, there=None if kind == "brief" else True)
                if kind == "brief":
                    self._expire(connection, name)
                else:
                    mine.append(name)
        except (OSError, http.client.HTTPException):
            pass  # killed: what was asked for last stays unknown
        finally:
            connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, target: str, name: str, there: bool | None
    ) -> None:
        node = {"id": f"{name}-1", "address": "127.0.0.1", "port": 9}
        self._ledger.asked(name)
        connection.request(method, target, json.dumps({"name": name, "nodes": [node]}))
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        self._ledger.answered(name, there)

    def _expire(self, connection: http.client.HTTPConnection, name: str) -> None:
        """Wait until it has run out."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            connection.request("GET", f"/registry?service={name}")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 404:
                self._ledger.answered(name, there=False)
                return


def names(daemon: Daemon) -> set[str]:
    """The services that it knows."""
    return {each["name"] for each in daemon.request("GET", "/registry").json}
