"""How often each check of each app passed and failed: what ``/metrics`` gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from sidecar.health.threshold import CheckResult

#: How a check can end.
OUTCOMES: Final = ("passed", "warned", "failed")


@define(eq=False)
class CheckCounts:
    """Counts what checks find.

    :ivar by: by app, check and outcome, which are closed lists: the settings name apps and checks.
    """

    by: dict[tuple[str, str, str], int] = field(factory=dict)

    def counting(self, app: str, check: str, found: Callable[[CheckResult], object]) -> Callable[[CheckResult], object]:
        """:returns: what passes on to ``found`` what a check of an app found, and counts it."""
        self.by.update({(app, check, outcome): 0 for outcome in OUTCOMES if (app, check, outcome) not in self.by})

        def counted(result: CheckResult) -> object:
            outcome = "failed" if not result.healthy else "warned" if result.warning else "passed"
            self.by[app, check, outcome] += 1
            return found(result)

        return counted

    def told(self) -> list[dict[str, object]]:
        """What /stats shows of them."""
        return [
            {"app": app, "check": check, "outcome": how, "count": count} for (app, check, how), count in self.by.items()
        ]
