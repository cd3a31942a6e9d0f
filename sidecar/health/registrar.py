"""Keeps the app beside us in the registry: for as long as it is healthy, and we run."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.application import service
from twisted.internet import defer
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from sidecar.errors import CallerError
from sidecar.health.checks import Checks, IProbe
from sidecar.health.checkset import Found, ICheckLoop
from sidecar.health.threshold import CheckResult, Threshold
from sidecar.interfaces import IAppHealth, IRegistry, IWatch, IWatcher
from sidecar.lifecycle import PeriodicService
from sidecar.model import ANONYMOUS, TAKEN_OVER, Cause, Change, Service
from sidecar.waiting import Backoff

#: Seconds before a refused registration is tried again, doubling from the first to the last.
FIRST_RETRY, LAST_RETRY = 0.25, 4.0
#: Seconds until an app that somebody else took out is registered again.
RETURN = 0.5
#: Seconds that the registry may take to let us go.
DEREGISTER_TIMEOUT = 5.0
#: Why the app leaves with us.
LEAVING = Cause("drained", "the sidecar is stopping", "drain")


@implementer(IAppHealth, IWatcher)
class Registrar(service.Service):
    """Registers the app at start, or with a probe once it is found healthy, and renews it; takes it out while it is
    unhealthy, and at stop.

    One task at a time talks to the registry, and goes on until the registry holds what is wanted.
    """

    log = Logger()

    def __init__(
        self,
        registry: IRegistry,
        app: Service,
        clock: IReactorTime,
        ttl: float | None = None,
        renewal: float | None = None,
        probe: IProbe | None = None,
        interval: float = 30.0,
        rise: int = 1,
        fall: int = 1,
        warnings: tuple[str, ...] = (),
        checks: Callable[[Found], ICheckLoop] | None = None,
        before: Registrar | None = None,
    ) -> None:
        """:param app: the service with its one node.
        :param ttl: seconds that the registry keeps the app without a renewal, or None for ever.
        :param renewal: seconds between renewals, or None for none.
        :param interval: seconds between checks of an app that is well.
        :param rise: passes in a row that make it healthy. :param fall: failures in a row that make it unhealthy.
        :param warnings: what is known to be wrong with its registration.
        :param checks: makes what checks the app in place of ``probe``, given whom to tell.
        :param before: the registrar of the same node that goes, and leaves it registered: what its checks found counts
            until ours have found something."""
        self._warnings = warnings
        #: Why the registry will never take the app as it is, and who has its id now: "" while it may, and it is ours.
        self._refused = self._taken_over = ""
        self._kept_out: Cause | None = None
        self._watch: IWatch | None = None
        self._return: IDelayedCall | None = None
        self._registry = registry
        self._app = app
        self._clock = clock
        self._random = Random()
        self._ttl = ttl
        self._id = app.nodes[0].id
        self._threshold = Threshold(rise, fall, None if before is None else before.healthy())
        self._explained = (
            "the app is not checked; see --healthcheck_url" if probe is None and checks is None else "not checked yet"
        )
        self._status: int | None = None
        #: Whether the registry should have the app, and whether it has: None while that is not known.
        self._wanted = False
        self._registered: bool | None = False if before is None else None
        self._handed_over = False
        if before is not None:
            self._explained, self._status = before.explain(), before.status()
        #: Why the registry should have it, or not.
        self._cause = Cause(by="sidecar")
        self._reconciling: Deferred[None] | None = None
        self._loops: list[PeriodicService] = []
        if renewal is not None:
            self._loops.append(PeriodicService(clock, renewal, self._renew, f"renewing {self._id}", now=False))
        self._checks: ICheckLoop | None = None
        if checks is not None:
            self._checks = checks(self._found)
        elif probe is not None:
            self._checks = Checks(clock, probe, interval, self._found)

    def healthy(self) -> bool | None:
        return None if self._checks is None else self._threshold.healthy is True

    def verdict(self) -> bool | None:
        """What the checks say, None before there were enough of them."""
        return self._threshold.healthy

    def status(self) -> int | None:
        return None if self._threshold.healthy is None else self._status

    def explain(self) -> str:
        return self._explained

    def warnings(self) -> tuple[str, ...]:
        kept_out = self.kept_out and f"kept out: {self.kept_out}"
        return (*self._warnings, *filter(None, (self._refused, self._taken_over, kept_out)))

    def startService(self) -> None:
        super().startService()
        self._watch = self._registry.watch(self)
        if self._checks is None:
            if self._kept_out is None:
                self.log.info("Registering {id}", id=self._id)
            self._want(True)
        else:
            self.log.info("Starting sidecar healthchecker")
            if self._threshold.healthy:
                self._want(True)
            self._checks.startService()
        for loop in self._loops:
            loop.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._watch is not None:
            self._watch.cancel()
        if self._return is not None and self._return.active():
            self._return.cancel()
        for loop in self._loops:
            loop.stopService()
        if self._checks is not None:
            self._checks.stopService()
        if self._reconciling is not None:
            self._reconciling.cancel()
        return Deferred.fromCoroutine(self._leave())

    def hand_over(self) -> None:
        """Leave the node registered at the stop: another registrar takes it on."""
        self._handed_over = True

    async def _leave(self) -> None:
        if self._registered is False or self._handed_over or self._taken_over:
            return
        self.log.info("Deregistering {id}: {why}", id=self._id, why="the sidecar is stopping")
        try:
            leaving = self._registry.deregister(self._app, ANONYMOUS, LEAVING)
            await leaving.addTimeout(DEREGISTER_TIMEOUT, self._clock)
            self._registered = False
        except Exception as error:
            # The engine is away: with a TTL it forgets the app by itself, and we have to go in any case.
            self.log.warn(
                "{id} could not be deregistered: {error}", id=self._id, error=str(error) or type(error).__name__
            )

    def keep_out(self, cause: Cause) -> None:
        """Have the app out of the registry, however well it is, until :meth:`let_in`."""
        self._kept_out = self._cause = cause
        self.log.info("Deregistering {id}: {why}", id=self._id, why=cause.detail)
        self._want(False)

    def let_in(self) -> None:
        """Register the app again, if it is well."""
        kept_out, self._kept_out = self._kept_out, None
        if kept_out is None:
            return
        if self._checks is None or self._threshold.healthy:
            self._cause = Cause("restored", "it is let in again", "sidecar")
            self._want(True)

    @property
    def kept_out(self) -> str:
        """Why the app is kept out of the registry, "" where it is not."""
        return "" if self._kept_out is None else self._kept_out.detail

    def _want(self, wanted: bool) -> None:
        wanted = wanted and self._kept_out is None
        self._wanted = wanted
        if self._taken_over:
            return  # what is there is somebody else's
        if self._reconciling is None and self._registered != wanted:
            self._reconciling = Deferred.fromCoroutine(self._reconcile())
            # After the assignment: where the registry answers at once, this runs at once.
            self._reconciling.addBoth(self._reconciled)

    async def _reconcile(self) -> None:
        backoff, failed, said = Backoff(FIRST_RETRY, LAST_RETRY, self._random), False, ""
        while self._registered != self._wanted:
            wanted = self._wanted
            # Until it answers, the registry may have done it or not.
            self._registered = None
            try:
                if wanted:
                    await self._registry.register(self._app, self._ttl, ANONYMOUS, self._cause)
                else:
                    await self._registry.deregister(self._app, ANONYMOUS, self._cause)
            except defer.CancelledError:
                raise
            except CallerError as error:
                # What we ask for is wrong, and will be as wrong at the next try.
                refused = f"{self._id} cannot be registered: {error}"
                if refused != self._refused:
                    self.log.error("{why}", why=refused)
                self._refused = refused
                self._registered = self._wanted = False
            except Exception as error:
                said = self._say(said, "Registering" if wanted else "Deregistering", error)
                failed = True
                await deferLater(self._clock, backoff.pause(), lambda: None)
            else:
                self._registered, self._refused = wanted, ""
                backoff.reset()
                if failed:
                    self.log.info("{id} is {what} now", id=self._id, what="registered" if wanted else "deregistered")
                    failed = False

    def _say(self, before: str, what: str, error: Exception) -> str:
        """One line for each kind of failure, not for each try: an engine may be away for hours.

        :param before: the line that was logged last. :returns: the one that stands for this failure."""
        text = f"{what} {self._id} failed, trying again until it holds: {str(error) or type(error).__name__}"
        if text != before:
            self.log.warn("{text}", text=text)
        return text

    def _reconciled(self, result: object) -> None:
        # A failure can only be our own cancellation: everything else is retried.
        self._reconciling = None

    # --- IWatcher -----------------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        """Somebody else took the app out, or has its id now: the first is mended, the second accepted and told."""
        if change.service.name != self._app.name or all(node.id != self._id for node in change.nodes):
            return
        if change.action == "delete":
            if (self._wanted and self._registered and self._reconciling is None) or self._taken_over:
                why = "the other one is gone" if self._taken_over else f"{change.reason}, by {change.by or 'somebody'}"
                self.log.warn("{id} is not in the registry any more ({why})", id=self._id, why=why)
                # Not known: it may have been registered again since.
                self._taken_over, self._registered = "", None
                self._cause = Cause("restored", "it was taken out while the app is well", "sidecar")
                self._return = self._clock.callLater(RETURN, self._come_back)
        elif change.action == "update" and change.detail == TAKEN_OVER and self._wanted and not self._taken_over:
            self._taken_over = (
                f"{self._id} belongs to another live registration, which is newer: give this app an id of its own "
                "by --server_id, or stop the other one"
            )
            self.log.error("{why}", why=self._taken_over)

    def invalidated(self, name: str) -> None:
        """Whoever asks next hears of it."""

    def _come_back(self) -> None:
        if self._wanted:
            self.log.info("Registering {id} again", id=self._id)
        self._want(self._wanted)

    def _renew(self) -> Deferred[None]:
        if self._wanted and self._reconciling is None and not self._taken_over:
            self._registered = None
            self._want(True)
        # Not waited for: a renewal that is refused is repeated sooner than the next one is due.
        return succeed(None)

    def _found(self, result: CheckResult) -> None:
        before = self._threshold.healthy
        self._threshold = self._threshold.found(result.healthy)
        self._explained, self._status = result.detail, result.status
        if self._threshold.healthy is None:
            self._explained = f"not checked yet, often enough to be sure; the last check: {result.detail}"
        if self._threshold.healthy == before:
            return
        assert self._checks is not None
        if not self._threshold.healthy:
            self._checks.schedule.watch(self._clock.seconds())
            if before is None:
                self.log.warn("{id} is not registered before it is healthy: {why}", id=self._id, why=result.detail)
            else:
                self.log.warn("Deregistering {id}: {why}", id=self._id, why=result.detail)
            self._cause = Cause("check failed", result.detail, "check")
            self._want(False)
            return
        self._checks.schedule.relax()
        self.log.info("Registering {id}: {why}", id=self._id, why=result.detail)
        if before is False:
            self._cause = Cause("check passed", result.detail, "check")
        self._want(True)
