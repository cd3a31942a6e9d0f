"""What exceptions are in HTTP."""

from __future__ import annotations

import json

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sidecar import errors, problems
from sidecar.model import Fault
from sidecar.problems import RPC, SIDECAR, AppUnhealthy
from sidecar.test.doubles.clients.resources import Asking
from sidecar.web.resource import MethodResource, Renderer
from sidecar.web.response import Answer, Request, of_problem


def problem(error: BaseException, id: str = SIDECAR) -> Answer:
    """What a caller reads of ``error``."""
    return of_problem(problems.problem(error, id))


class ProblemTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each kind of error has its status, and says what it says in error JSON."""
        for error, status in (
            (errors.BadRequest("why"), 400),
            (errors.TopicInvalid("why"), 400),
            (errors.Forbidden("why"), 403),
            (errors.NotFound("why"), 404),
            (errors.TooLarge("why"), 413),
            (errors.UnsupportedMedia("why"), 415),
            (errors.ConnectFailed("why"), 502),
            (errors.NotSent("why"), 502),
            (errors.ConnectionLost("why"), 502),
            (errors.BadAnswer("why"), 502),
            (errors.NoNodes("why"), 503),
            (errors.Overloaded("why"), 503),
            (errors.EngineUnavailable("why"), 503),
            (errors.ShuttingDown("why"), 503),
            (errors.CallTimeout("why"), 504),
        ):
            answer = problem(error, RPC)
            fault = json.loads(answer.body)
            self.assertEqual((answer.status, fault["code"]), (status, status))
            self.assertEqual((fault["id"], fault["detail"]), (RPC, "why"))
            self.assertTrue(fault["status"])
            self.assertEqual(list(fault), ["id", "code", "detail", "status"])

    def test_overloaded(self) -> None:
        """A full queue says when to come back."""
        self.assertIn(b"Retry-After: 1\r\n", problem(errors.Overloaded("full")).headers)

    def test_service_fault(self) -> None:
        """A service's own error keeps code, id and detail; its code is the status where HTTP has such an error."""
        for code, status in ((400, 400), (404, 404), (599, 599), (200, 500), (302, 500), (600, 500), (-3, 500)):
            answer = problem(errors.ServiceFault(Fault("srv.say", code, "bad John", "Odd")))
            self.assertEqual(answer.status, status)
            told = {"id": "srv.say", "code": code, "detail": "bad John", "status": "Odd"}
            self.assertEqual(json.loads(answer.body), told)

    def test_service_text(self) -> None:
        """A service's bare text is dressed as the original dressed it."""
        answer = problem(errors.ServiceFault(Fault("", 0, "rpc: can't find service Say", "")))
        self.assertEqual(answer.status, 500)
        fault = json.loads(answer.body)
        self.assertEqual(fault["id"], "go.micro.rpc")
        self.assertEqual(fault["detail"], "error during request: rpc: can't find service Say")

    def test_unhealthy(self) -> None:
        """An app that says itself how it is, is quoted; one that says nothing is unavailable."""
        self.assertEqual(problem(AppUnhealthy("why", 500)).status, 500)
        self.assertEqual(problem(AppUnhealthy("why", 302)).status, 503)
        self.assertEqual(problem(AppUnhealthy("why")).status, 503)

    def test_incident(self) -> None:
        """What nobody expected is a 500 whose incident id stands in the log too, and tells the caller nothing else."""
        answer = problem(ZeroDivisionError("secret"))
        self.assertEqual(answer.status, 500)
        self.assertNotIn(b"secret", answer.body)
        logged = self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(len(logged), 1)


class ResourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.later: Deferred[Answer] = Deferred()
        methods: dict[str, Renderer] = {"GET": lambda request: self.later, "POST": self.post, "PUT": self.broken}
        self.asking = Asking(MethodResource(methods))

    async def post(self, request: Request) -> Answer:
        await self.later
        raise errors.BadRequest("after all")

    def broken(self, request: Request) -> Answer:
        raise KeyError("nobody expected this")

    def test_later(self) -> None:
        """An answer may come later, from a Deferred or a coroutine, good or bad."""
        good, bad = self.asking.begin("GET", "/"), self.asking.begin("POST", "/")
        self.assertIsNone(good.heard())
        self.later.callback(Answer(b"{}"))
        answers = good.heard(), bad.heard()
        assert answers[0] is not None and answers[1] is not None
        self.assertEqual(answers[0].status, 200)
        self.assertEqual(answers[1].error, (400, "after all"))

    def test_cancelled_by_us(self) -> None:
        """Work that is cancelled while its caller waits is answered as leaving."""
        waiting = self.asking.begin("GET", "/")
        self.later.cancel()
        heard = waiting.heard()
        assert heard is not None
        self.assertEqual(heard.error[0], 503)
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])

    def test_broken(self) -> None:
        """A resource that breaks answers 500 in JSON, never Twisted's page."""
        self.assertEqual(self.asking.ask("PUT", "/").error[0], 500)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
