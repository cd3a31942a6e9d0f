"""Starts the real daemon as a process of its own, on a port of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from attrs import define, frozen
from twisted.trial.unittest import SkipTest

import sidecar
from sidecar.test.doubles.programs.process import Program, not_installed, start

#: What holds the package, so that processes started elsewhere find it (and its twistd plugin) too.
ROOT = str(Path(sidecar.__file__).parent.parent)
_LISTENING = re.compile(r"Listening on (https?)://(\[[^]]*\]|[^:\s]*):(\d+)")
#: How each command begins.
COMMANDS = {
    "micro": ("micro", "sidecar"),
    "microsidecar": ("microsidecar",),
    # ``micro`` alone: the word has to be among the flags.
    "flags first": ("micro",),
    "twistd": ("twistd", "-n", "--pidfile=", "microsidecar"),
}


@frozen
class Answer:
    """What the daemon answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@define(eq=False)
class Daemon:
    """A running daemon. Stops when told, or at the end of its ``with``.

    :ivar url: ``http://127.0.0.1:port``. :ivar port: 0 where it does not listen on TCP.
    """

    program: Program
    url: str
    port: int

    @property
    def output(self) -> str:
        """Everything that it logged."""
        return self.program.output

    @property
    def pid(self) -> int:
        return self.program.process.pid

    def request(
        self, method: str, path: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask it, blocking. (Where its answer needs this process, ask without blocking instead.)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.program.process.send_signal(number)

    def wait(self, patience: float = 60.0) -> int:
        """:returns: the exit code, blocking until it is there."""
        return self.program.process.wait(patience)

    def stop(self) -> None:
        """End it and remove its files."""
        self.program.stop()

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a process of ours: no ``MICRO_*`` of the developer's own, the package found."""
    ours = {name: "" for name in os.environ if name.startswith(("MICRO_", "CONSUL_", "ETCD_"))}
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH", ""))))
    # The machine may have a sidecar of its own, with a file of settings.
    ours["MICRO_CONFIG"] = "none"
    # What one test's daemon keeps is no other's business.
    ours["MICRO_DATA_DIR"] = "none"
    return {**ours, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(extra or {})}


def script(name: str) -> str:
    """The console script of the environment that runs the tests. :raises SkipTest: the package is not installed."""
    reason = not_installed()
    if reason is not None:
        raise SkipTest(reason)
    return str(Path(sys.executable).parent / name)


def running_daemon(
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    command: str = "micro",
    patience: float = 120.0,
    prefix: Sequence[str] = (),
) -> Daemon:
    """Start a daemon and wait, blocking, until it listens.

    :param args: flags; ``--port 0`` goes before them, where they name no port or address.
    :param command: one of ``COMMANDS``.
    :param prefix: what stands before the command, such as :attr:`Namespace.prefix`.
    :raises RuntimeError: it ended instead; with its output.
    """
    name, *rest = COMMANDS[command]
    place = () if any(re.match(r"--(port|address|sidecar.address)\b", one) for one in args) else ("--port", "0")
    words = [*prefix, script(name), *rest, *place, *args]
    program = start(
        words[0],
        words[1:],
        lambda program: "Listening on " in program.output,
        environment=environment(env),
        patience=patience,
    )
    found = _LISTENING.search(program.output)
    port = int(found[3]) if found else 0
    return Daemon(program, f"{found[1]}://127.0.0.1:{port}" if found else "", port)


def run(
    name: str, args: Sequence[str], env: Mapping[str, str] | None = None, stdin: bytes = b"", cwd: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a console script of ours to its end, blocking. :returns: its exit code, stdout and stderr."""
    return subprocess.run(
        [script(name), *args],
        input=stdin,
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment(env)},
        cwd=cwd,
    )
