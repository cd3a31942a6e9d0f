"""Several checks of one app come to one verdict; heartbeats, programs and connections are checks too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.errors import BadAnswer
from sidecar.health.checkset import CheckSet, Found, ICheckLoop, NamedCheck
from sidecar.health.grpcprobe import GrpcProbe
from sidecar.health.heartbeat import Heartbeats
from sidecar.health.programprobe import ProgramProbe, judge_script, judge_unit
from sidecar.health.tcpprobe import TcpProbe
from sidecar.health.threshold import CheckResult, Threshold
from sidecar.model import Call, Node, Reply

reactor: Any = installed


class SetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.found: list[CheckResult] = []
        self.checks = CheckSet(self.clock, self.found.append)
        self.addCleanup(self.checks.stopService)

    def heartbeat(self, name: str, ttl: float = 1000.0, **arguments: Any) -> Heartbeats:
        made: list[Heartbeats] = []

        def make(found: Found) -> ICheckLoop:
            made.append(Heartbeats(self.clock, ttl, found))
            return made[0]

        threshold = arguments.pop("threshold", Threshold(1, 1))
        self.checks.add(NamedCheck(name, threshold, **arguments), make)
        return made[0]

    def verdict(self) -> bool | None:
        return self.found[-1].healthy if self.found else None

    def test_well_while_each_one_is(self) -> None:
        """Nothing is said before each has a verdict; one that fails is enough, and it is named."""
        web, data = self.heartbeat("web"), self.heartbeat("data")
        self.checks.startService()
        web.beat("pass", "")
        self.assertIsNone(self.verdict())
        data.beat("pass", "all there")
        self.assertIs(self.verdict(), True)
        self.assertEqual(self.found[-1].detail, "web: passing; data: all there")
        data.beat("fail", "disk full")
        self.assertIs(self.verdict(), False)
        self.assertEqual(self.found[-1].detail, "data: disk full")
        data.beat("pass", "")
        self.assertIs(self.verdict(), True)

    def test_warnings(self) -> None:
        """A warning keeps the app well, and is told."""
        web = self.heartbeat("web")
        self.checks.startService()
        web.beat("warn", "slow today")
        self.assertEqual((self.verdict(), self.found[-1].warning), (True, True))
        self.assertEqual(self.found[-1].detail, "web: warning: slow today")

    def test_heartbeats_that_stay_away(self) -> None:
        """After the ttl without one the check fails; the next one mends it."""
        web = self.heartbeat("web", ttl=30.0)
        self.checks.startService()
        self.clock.advance(29.0)
        self.assertIsNone(self.verdict())
        web.beat("pass", "")
        self.clock.advance(29.0)
        self.assertIs(self.verdict(), True)
        self.clock.advance(1.0)
        self.assertIs(self.verdict(), False)
        self.assertIn("no heartbeat for 30 s", self.found[-1].detail)
        web.beat("pass", "")
        self.assertIs(self.verdict(), True)

    def test_initial(self) -> None:
        """What a check is taken for until it has found something."""
        self.heartbeat("web", threshold=Threshold(1, 1, True))
        self.checks.startService()
        self.assertIs(self.verdict(), True)

    def test_rise_and_fall(self) -> None:
        """Each check counts its own."""
        web = self.heartbeat("web", threshold=Threshold(1, 3))
        self.checks.startService()
        web.beat("pass", "")
        for expected in (True, True, False):
            web.beat("fail", "")
            self.assertIs(self.verdict(), expected)

    def test_critical_after(self) -> None:
        """A check that may fail for some time takes the app out after it, unless it passes before."""
        web = self.heartbeat("web", critical_after=60.0)
        self.checks.startService()
        web.beat("fail", "down")
        self.assertIs(self.verdict(), True)
        self.assertIn("warning: down", self.found[-1].detail)
        self.clock.advance(59.0)
        web.beat("pass", "")
        web.beat("fail", "down again")
        self.clock.advance(59.0)
        self.assertIs(self.verdict(), True)
        self.clock.advance(1.0)
        self.assertIs(self.verdict(), False)


class GrpcTests(SynchronousTestCase):
    def test_health_protocol(self) -> None:
        """SERVING is healthy, any other state and any error is not."""
        asked: list[Call] = []

        def probe(body: bytes) -> GrpcProbe:
            def ask(node: Node, call: Call, timeout: float) -> Deferred[Reply]:
                asked.append(call)
                return succeed(Reply(body))

            return GrpcProbe(ask, Node("x", "127.0.0.1", 1), "stock.Stock", 1.0)

        for body, healthy in ((b"\x08\x01", True), (b"\x08\x02", False), (b"", False)):
            self.assertIs(self.successResultOf(probe(body).check()).healthy, healthy)
        self.assertEqual(asked[0].method, "/grpc.health.v1.Health/Check")
        self.assertEqual(asked[0].request, b"\x0a\x0bstock.Stock")

    def test_failure(self) -> None:
        """Nobody there, or no such method."""

        def ask(node: Node, call: Call, timeout: float) -> Deferred[Reply]:
            failed: Deferred[Reply] = Deferred()
            failed.errback(BadAnswer("it is no gRPC"))
            return failed

        found = self.successResultOf(GrpcProbe(ask, Node("x", "127.0.0.1", 1), "", 1.0).check())
        self.assertFalse(found.healthy)
        self.assertIn("no gRPC", found.detail)


class ProgramTests(TestCase):
    async def run_program(self, code: str, timeout: float = 30.0) -> CheckResult:
        return await ProgramProbe(reactor, (sys.executable, "-c", code), timeout, judge_script).check()

    async def test_exit_codes(self) -> None:
        """0 passes, 1 is a warning, others fail; the output is the note."""
        for code, healthy, warning in ((0, True, False), (1, True, True), (2, False, False)):
            found = await self.run_program(f"print('said', 7); raise SystemExit({code})")
            self.assertEqual((found.healthy, found.warning, found.detail), (healthy, warning, "said 7"))

    async def test_killed_as_a_tree(self) -> None:
        """One that takes too long is killed with all that it started."""
        path = Path(self.mktemp())
        child = f"import time, os; open({str(path)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
        code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
        checking = self.run_program(code, timeout=5.0)
        found = await checking
        self.assertFalse(found.healthy)
        self.assertIn("killed", found.detail)
        pid = number_in(path)
        for _ in range(100):
            if not _runs(pid):
                # Its pipes are read to their end, which is a turn of the reactor or two after that of the program.
                await deferLater(reactor, 1.0, lambda: None)
                return
            await deferLater(reactor, 0.05, lambda: None)
        self.fail("its child lives on")

    async def test_cancelled(self) -> None:
        """Stopping does not wait for a script, neither while it runs nor once it has ended."""
        for code in ("import time; time.sleep(600)", "pass"):
            probe = ProgramProbe(reactor, (sys.executable, "-c", code), 30.0, judge_script)
            checking = probe.check()
            await deferLater(reactor, 0.3, lambda: None)
            outcome: list[object] = []
            checking.addBoth(outcome.append)
            checking.cancel()
            self.assertEqual(len(outcome), 1)

    async def test_no_such_program(self) -> None:
        """It fails, and says which."""
        found = await ProgramProbe(reactor, ("/no/such/program",), 30.0, judge_script).check()
        self.assertFalse(found.healthy)
        self.assertIn("/no/such/program", found.detail)

    def test_units(self) -> None:
        """What systemd says of a unit."""
        from sidecar.health.programprobe import ProgramEnd

        judge = judge_unit("x.service")
        self.assertEqual(judge(ProgramEnd(0, "active")), CheckResult(True, "x.service is active"))
        self.assertTrue(judge(ProgramEnd(3, "activating")).warning)
        self.assertFalse(judge(ProgramEnd(3, "failed")).healthy)
        self.assertEqual(judge(ProgramEnd(1, "no bus")).detail, "x.service: no bus")


class TcpTests(TestCase):
    async def test_connections(self) -> None:
        """Whoever takes a connection is healthy; a refused one says so."""
        port: Any = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        number = port.getHost().port
        probe = TcpProbe(reactor, TCP4ClientEndpoint(reactor, "127.0.0.1", number), f"127.0.0.1:{number}", 30.0)
        self.assertTrue((await probe.check()).healthy)
        await port.stopListening()
        found = await probe.check()
        self.assertFalse(found.healthy)
        self.assertIn(str(number), found.detail)


def number_in(path: Path) -> int:
    return int(path.read_text())


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
