"""The app is in the registry as long as it is healthy and we run."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sidecar.errors import BadRequest, EngineUnavailable
from sidecar.health.checks import SOON
from sidecar.health.registrar import Registrar
from sidecar.health.threshold import CheckResult
from sidecar.interfaces import IAppHealth
from sidecar.model import ANONYMOUS, TAKEN_OVER, UNSAID, Caller, Cause, Change, Node, Service
from sidecar.registry.memory import MemoryRegistry

APP = Service("foo", nodes=(Node("foo-1", "127.0.0.1", 9090),))
HEALTHY = CheckResult(True, "answered 200")
SICK = CheckResult(False, "answered 500")


@define(eq=False)
class AnsweredProbe:
    """A probe that is answered by the test."""

    pending: list[Deferred[CheckResult]] = field(factory=list)
    cancelled: list[Deferred[CheckResult]] = field(factory=list)

    def check(self) -> Deferred[CheckResult]:
        self.pending.append(Deferred(self.cancelled.append))
        return self.pending[-1]

    def find(self, result: CheckResult) -> None:
        self.pending[-1].callback(result)


class Flaky(MemoryRegistry):
    """The memory registry with an engine that can go away."""

    away = False
    wrong = ""
    registrations = 0

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        self.registrations += 1
        if self.wrong:
            return fail(BadRequest(self.wrong))
        return fail(EngineUnavailable("away")) if self.away else super().register(service, ttl, caller, cause)

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return fail(EngineUnavailable("away")) if self.away else super().deregister(service, caller, cause)


class RegistrarTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = Flaky(self.clock)
        self.registry.startService()
        self.checks = AnsweredProbe()

    def registrar(self, **arguments: object) -> Registrar:
        registrar = Registrar(self.registry, APP, self.clock, **arguments)  # type: ignore[arg-type]  # by name
        registrar.startService()
        return registrar

    def known(self) -> bool:
        getting = self.registry.get("foo")
        outcome: list[object] = []
        getting.addBoth(outcome.append)
        return isinstance(outcome[0], tuple)

    def assert_promptly(self, condition: Callable[[], bool], seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            if condition():
                return
            self.clock.advance(0.1)
        self.fail(f"not within {seconds} s")

    def test_provides_its_interface(self) -> None:
        """/health may ask it."""
        verifyObject(IAppHealth, Registrar(self.registry, APP, self.clock))

    def test_registers_at_start_and_leaves_at_stop(self) -> None:
        """The app is known from start to stop."""
        registrar = self.registrar()
        self.assertTrue(self.known())
        self.assertIsNone(registrar.healthy())
        self.successResultOf(registrar.stopService())
        self.assertFalse(self.known())

    def test_what_can_never_work(self) -> None:
        """It is not tried again and again: it is said once, loudly, and in what /health shows."""
        self.registry.wrong = "name: mDNS cannot carry it"
        registrar = self.registrar(warnings=("loopback",))
        self.clock.pump([1.0] * 60)
        self.assertEqual(self.registry.registrations, 1)
        self.assertEqual(registrar.warnings()[0], "loopback")
        self.assertIn("mDNS cannot carry it", registrar.warnings()[1])
        self.assertIsNone(registrar.healthy())
        self.successResultOf(registrar.stopService())

    def test_registers_after_the_first_verdict(self) -> None:
        """Until there is one the app is neither registered nor said to be healthy."""
        registrar = self.registrar(probe=self.checks)
        self.assertEqual((self.known(), registrar.healthy(), registrar.status()), (False, False, None))
        self.assertIn("not checked yet", registrar.explain())
        self.assertIsNone(registrar.verdict())
        self.checks.find(HEALTHY)
        self.assertEqual((self.known(), registrar.healthy(), registrar.verdict()), (True, True, True))

    def test_verdict_whatever_fall_says(self) -> None:
        """A first check that fails is no verdict where more are asked for, and registers nobody."""
        registrar = self.registrar(probe=self.checks, fall=3)
        self.checks.find(SICK)
        self.assertEqual((self.known(), registrar.healthy(), registrar.status()), (False, False, None))
        self.assertIn("not checked yet", registrar.explain())
        for _ in range(2):
            self.clock.advance(SOON)
            self.checks.find(SICK)
        self.assertFalse(self.known())
        self.assertEqual(registrar.explain(), "answered 500")

    def test_app_that_comes_up_later(self) -> None:
        """It is registered within half a second, though it is checked every 30 s once it is well."""
        self.registrar(probe=self.checks, interval=30.0)
        self.checks.find(SICK)
        for _ in range(8):
            self.clock.advance(0.25)
            self.checks.find(SICK)
        self.clock.advance(0.25)
        self.checks.find(HEALTHY)
        self.assertTrue(self.known())
        count = len(self.checks.pending)
        self.clock.pump([1.0] * 29)
        self.assertEqual(len(self.checks.pending), count)
        self.clock.advance(1)
        self.assertEqual(len(self.checks.pending), count + 1)

    def test_out_while_unhealthy_and_back_on_recovery(self) -> None:
        """A failing check takes the app out; a passing one brings it back."""
        registrar = self.registrar(probe=self.checks, interval=10.0)
        self.checks.find(HEALTHY)
        self.clock.advance(10)
        self.checks.find(SICK)
        self.assertFalse(self.known())
        self.assertIs(registrar.healthy(), False)
        self.assertIn("500", registrar.explain())
        self.clock.advance(SOON)
        self.checks.find(HEALTHY)
        self.assertTrue(self.known())
        self.assertIs(registrar.healthy(), True)

    def test_falls_only_after_enough_failures(self) -> None:
        """healthcheck_fall failures in a row are needed."""
        self.registrar(probe=self.checks, interval=10.0, fall=2)
        self.checks.find(HEALTHY)
        self.clock.advance(10)
        self.checks.find(SICK)
        self.assertTrue(self.known())
        self.clock.advance(10)
        self.checks.find(SICK)
        self.assertFalse(self.known())

    def test_never_two_checks_at_once(self) -> None:
        """A check that takes longer than the interval is not overtaken by the next."""
        self.registrar(probe=self.checks, interval=1.0)
        self.clock.pump([1.0] * 10)
        self.assertEqual(len(self.checks.pending), 1)

    def test_stop_ends_the_check_in_flight(self) -> None:
        """Stopping cancels what was asked, and nothing is asked after."""
        registrar = self.registrar(probe=self.checks, interval=1.0)
        self.successResultOf(registrar.stopService())
        self.assertEqual(self.checks.cancelled, self.checks.pending)
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(self.checks.pending), 1)

    def test_renewed_before_it_expires(self) -> None:
        """With a TTL the app stays while we run, and expires once renewals end."""
        registrar = self.registrar(ttl=60.0, renewal=30.0)
        self.clock.pump([10.0] * 30)
        self.assertTrue(self.known())
        self.registry.away = True
        stopping = registrar.stopService()
        self.successResultOf(stopping)
        self.registry.away = False
        self.assertTrue(self.known())
        self.clock.pump([10.0] * 7)
        self.assertFalse(self.known())

    def test_registration_is_repeated_until_it_holds(self) -> None:
        """An engine that is away at start gets the app within 5 s of its return."""
        self.registry.away = True
        self.registrar()
        self.clock.pump([0.5] * 60)
        self.assertFalse(self.known())
        self.assertLess(self.registry.registrations, 20)
        self.registry.away = False
        self.assert_promptly(self.known, 5.0)

    def test_deregistration_is_repeated_until_it_holds(self) -> None:
        """A sick app leaves an engine that was away when it fell ill."""
        self.registrar(probe=self.checks, interval=10.0)
        self.checks.find(HEALTHY)
        self.clock.advance(10)
        self.registry.away = True
        self.checks.find(SICK)
        self.clock.advance(1)
        self.registry.away = False
        self.assertTrue(self.known())
        self.assert_promptly(lambda: not self.known(), 5.0)

    def test_a_renewal_brings_back_what_the_engine_forgot(self) -> None:
        """An engine that lost its state has the app again after the next renewal."""
        self.registrar(ttl=60.0, renewal=30.0)
        self.successResultOf(MemoryRegistry.deregister(self.registry, APP, ANONYMOUS))
        self.assertFalse(self.known())
        self.clock.advance(30)
        self.assertTrue(self.known())

    def test_somebody_takes_the_app_out(self) -> None:
        """A healthy app that somebody deregisters is back within a second, and not while it is ill."""
        self.registrar(probe=self.checks, interval=100.0)
        self.checks.find(HEALTHY)
        self.successResultOf(self.registry.deregister(APP, Caller("stranger")))
        self.assertFalse(self.known())
        self.clock.pump([0.1] * 10)
        self.assertTrue(self.known())
        self.clock.advance(100)
        self.checks.find(SICK)
        self.clock.pump([0.1] * 20)
        self.assertFalse(self.known())

    def test_somebody_newer_has_its_id(self) -> None:
        """The older registrar says so, renews nothing, takes nothing out, and comes back when the other one is gone."""
        registrar = self.registrar(ttl=60.0, renewal=30.0)
        watcher: Registrar = registrar
        watcher.changed(Change.of("update", APP, Cause("changed", TAKEN_OVER, "engine etcd")))
        self.assertIn("belongs to another live registration", registrar.warnings()[0])
        before = self.registry.registrations
        self.clock.pump([1.0] * 50)
        self.assertEqual(self.registry.registrations, before)
        watcher.changed(Change.of("delete", APP, Cause(by="engine etcd")))
        self.clock.pump([0.1] * 10)
        self.assertEqual((self.registry.registrations, registrar.warnings()), (before + 1, ()))

    def test_it_leaves_what_is_somebody_elses(self) -> None:
        """At its stop too."""
        registrar = self.registrar()
        registrar.changed(Change.of("update", APP, Cause("changed", TAKEN_OVER, "engine etcd")))
        self.successResultOf(registrar.stopService())
        self.assertTrue(self.known())

    def test_a_sick_app_is_not_renewed(self) -> None:
        """Renewals do not put back what a check took out."""
        self.registrar(ttl=60.0, renewal=30.0, probe=self.checks, interval=100.0)
        self.checks.find(HEALTHY)
        self.clock.advance(100)
        self.checks.find(SICK)
        self.clock.advance(30)
        self.assertFalse(self.known())

    def test_stop_does_not_wait_for_ever(self) -> None:
        """A registry that never answers keeps nobody from leaving."""
        registrar = self.registrar()
        self.patch(self.registry, "deregister", lambda service, caller, cause: Deferred())
        stopping = registrar.stopService()
        self.assertNoResult(stopping)
        self.clock.advance(6)
        self.successResultOf(stopping)

    def test_stop_while_registering_still_deregisters(self) -> None:
        """A registration in flight may have arrived: it is taken back."""
        gone: list[Service] = []

        def deregister(service: Service, caller: Caller, cause: Cause) -> Deferred[None]:
            gone.append(service)
            return succeed(None)

        self.patch(self.registry, "register", lambda service, ttl, caller, cause: Deferred())
        self.patch(self.registry, "deregister", deregister)
        registrar = self.registrar()
        self.successResultOf(registrar.stopService())
        self.assertEqual(gone, [APP])
