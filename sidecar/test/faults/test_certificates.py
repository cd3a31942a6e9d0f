"""Certificates that are changed while everybody calls."""

from __future__ import annotations

import http.client
import shutil
import signal
import ssl
import threading
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.certificates import authority
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.faults.kills import PATIENCE

CALLERS, ROTATIONS = 8, 5
#: Answers that each caller has to get between one rotation and the next.
ENOUGH = 10


@define(eq=False)
class TlsCaller:
    """Asks again and again, on one connection or on a new one each time.

    :ivar answers: how many it got. :ivar wrong: what else came.
    """

    port: int
    context: ssl.SSLContext
    kept: bool
    answers: int = 0
    wrong: list[str] = field(factory=list)
    _ended: threading.Event = field(factory=threading.Event)

    def run(self) -> None:
        try:
            connection = self._connect()
            while not self._ended.is_set():
                if not self.kept:
                    connection.close()
                    connection = self._connect()
                connection.request("GET", "/registry")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.wrong.append(f"answered {answer.status}")
                if self.kept and answer.getheader("Connection") == "close":
                    self.wrong.append("its connection is closed")
                self.answers += 1
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(repr(error))

    def stop(self) -> None:
        self._ended.set()

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE, context=self.context)


class Rotations(SynchronousTestCase):
    def shown(self, daemon: Daemon) -> str:
        """The certificate that a new connection is shown."""
        return ssl.get_server_certificate(("127.0.0.1", daemon.port), timeout=PATIENCE)

    def test_under_load(self) -> None:
        """No connection is dropped, kept ones go on, and new ones are shown what the files hold since the reload."""
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        ca = authority(home)
        paths = (home / "used.pem", home / "used.key")

        def use(name: str) -> None:
            for source, place in zip(ca.issue(name), paths, strict=True):
                shutil.copy(source, place.with_suffix(".new"))
                place.with_suffix(".new").rename(place)

        def first() -> str:
            """The first certificate of the file."""
            end = "-----END CERTIFICATE-----\n"
            return paths[0].read_text().partition(end)[0] + end

        use("number-0")
        flags = [f"--tls_cert_file={paths[0]}", f"--tls_key_file={paths[1]}", "--idle_timeout=10m", "--access_log=off"]
        with running_daemon(flags) as daemon:
            context = ssl.create_default_context(cafile=ca.ca_file)
            callers = [TlsCaller(daemon.port, context, kept=number % 2 == 0) for number in range(CALLERS)]
            threads = [threading.Thread(target=caller.run, daemon=True) for caller in callers]
            for caller, thread in zip(callers, threads, strict=True):
                self.addCleanup(caller.stop)
                thread.start()
            for rotation in range(1, ROTATIONS + 1):
                use(f"number-{rotation}")
                daemon.signal(signal.SIGHUP)
                until(lambda: self.shown(daemon).split() == first().split(), PATIENCE)
                goals = [caller.answers + ENOUGH for caller in callers]
                until(
                    lambda goals=goals: all(  # type: ignore[misc]
                        caller.answers >= goal or caller.wrong for caller, goal in zip(callers, goals, strict=True)
                    ),
                    PATIENCE,
                )
            for caller in callers:
                caller.stop()
            for thread in threads:
                thread.join(PATIENCE)
            self.assertEqual([caller.wrong for caller in callers], [[]] * CALLERS)
            self.assertNotIn("Traceback", daemon.output)
