"""Live traffic for tests that take something away under it: kept up by threads, and judged when it ends."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType

from attrs import define, field

from sidecar.test.doubles.programs.daemon import Daemon


@define(eq=False)
class Repeating:
    """Does something again and again in a thread, until the end of its ``with``."""

    _what: Callable[[], None]
    _every: float
    _done: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> Repeating:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join(60)

    def _run(self) -> None:
        while not self._done.wait(self._every):
            self._what()


@define(eq=False)
class Calls:
    """Calls one service after the other through a sidecar.

    :ivar failures: when and how a call did not answer 200. :ivar slowest: seconds of the slowest call.
    """

    _daemon: Daemon
    _services: tuple[str, ...]
    _began: float = field(factory=time.monotonic, init=False)
    answered: int = field(default=0, init=False)
    slowest: float = field(default=0.0, init=False)
    failures: list[str] = field(factory=list, init=False)

    def __call__(self) -> None:
        name = self._services[(self.answered + len(self.failures)) % len(self._services)]
        began = time.monotonic()
        try:
            status, said = call(self._daemon, name)
        except (OSError, http.client.HTTPException) as error:
            status, said = 0, repr(error)
        self.slowest = max(self.slowest, time.monotonic() - began)
        if status == 200:
            self.answered += 1
        else:
            self.failures.append(f"{name} at {began - self._began:.2f} s: {status} {said}")


def call(daemon: Daemon, service: str) -> tuple[int, str]:
    """One call. :returns: status and body."""
    body = json.dumps({"service": service, "method": "Say.Hello", "request": {}})
    answer = daemon.request("POST", "/rpc", body, {"Content-Type": "application/json"})
    return answer.status, answer.body.decode("utf-8", "replace")


def until(true: Callable[[], bool], patience: float, pause: float = 0.05) -> float:
    """Wait, blocking. :returns: seconds that it took. :raises TimeoutError: ``patience`` seconds were not enough."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > patience:
            raise TimeoutError(f"not within {patience:g} s")
        time.sleep(pause)
    return time.monotonic() - began
