"""What is said before a run of the tests begins."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test import plan, source
from sidecar.test.doubles.programs import process


class PlanTests(SynchronousTestCase):
    def said(
        self, *names: str, jobs: int = 1, speed: float = 1.0, quick: bool = False, installed: bool = True
    ) -> list[str]:
        return plan.plan(names or ("sidecar",), jobs, speed, quick, installed).splitlines()

    def test_duration(self) -> None:
        """It says how long the run takes: longer on a slower machine, shorter with more processes or fewer tests."""
        self.patch(plan, "absent", lambda programs: [])
        total = sum(part.seconds for part in plan.PARTS) / 60
        self.assertIn(f"about {round(total)} min here", self.said()[0])
        self.assertIn(f"about {round(total * 3)} min here", self.said(speed=3.0)[0])
        self.assertIn(f"about {round(total / 2)} min here in 2 processes", self.said(jobs=2)[0])
        self.assertIn("less than a minute", self.said("sidecar.test.test_architecture")[0])
        self.assertEqual(len(self.said()), 1)

    def test_what_is_not_installed(self) -> None:
        """It says what is skipped for want of which program, and takes no time for it."""
        self.patch(plan, "absent", lambda programs: [name for name in programs if name == "etcd"])
        first, *skips = self.said()
        self.assertEqual(len(skips), 1)
        self.assertIn("the etcd registry over etcd", skips[0])
        self.assertIn("not installed: etcd", skips[0])
        left = sum(part.seconds for part in plan.PARTS if "etcd" not in part.programs)
        self.assertIn(f"about {round(left / 60)} min", first)

    def test_bare_checkout(self) -> None:
        """It says that the package is not installed, in the words that the tests themselves use."""
        self.assertIn(process.NOT_INSTALLED, self.said(installed=False)[1])

    def test_quick(self) -> None:
        """Whatever starts a program is left out of a quick run."""
        self.assertIn(process.QUICKLY, self.said("sidecar.test.unit", quick=True)[1])

    def test_others_are_told_nothing(self) -> None:
        """Programs that merely import the tests print nothing."""
        printed: list[object] = []

        def said(*arguments: object) -> str:
            printed.append(arguments)
            return ""

        self.patch(plan, "plan", said)
        for arguments in (["python", "-m", "bench"], ["/usr/bin/trial", "sidecar.test.unit.rpc.test_attempts"], ["-c"]):
            plan.announce(arguments, {})
        self.assertEqual(printed, [])

    def test_jobs(self) -> None:
        """The number of processes is read as trial reads it."""
        for words, jobs in {"-j2": 2, "-j 3": 3, "--jobs=4": 4, "--jobs 5": 5, "": 1, "-j": 1}.items():
            self.assertEqual(plan.jobs(["trial", *words.split(), "sidecar"]), jobs, words)

    def test_every_program_is_told_of(self) -> None:
        """Each program that a test says it needs is one whose absence is told."""
        known = {name for part in plan.PARTS for name in part.programs}
        wanted = set()
        for path in Path(source.ROOT, "sidecar", "test").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "missing":
                    wanted |= {one.value for one in node.args if isinstance(one, ast.Constant)}
        self.assertLessEqual({"etcd", "consul", "nats-server"}, wanted)
        self.assertEqual(wanted - known - {"python"}, set())
