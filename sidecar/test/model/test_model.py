"""What hypothesis finds when it does to a sidecar whatever may happen, in any order."""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.model.calls import Calls
from sidecar.test.model.messages import Messages
from sidecar.test.model.registrations import Registrations

#: How many runs a machine gets, each of so many steps; ``MICROSIDECAR_EXAMPLES`` gives more, other ones each time.
EXAMPLES, STEPS = 60, 50
MORE = os.environ.get("MICROSIDECAR_EXAMPLES")

SETTINGS = settings(
    settings.get_profile("microsidecar"),
    max_examples=int(MORE or EXAMPLES),
    stateful_step_count=STEPS,
    # The same runs each time, so that a run of the tests tells of a change and not of luck.
    derandomize=not MORE,
    database=None,
    print_blob=True,
)


class Model(SynchronousTestCase):
    def test_registrations(self) -> None:
        """Registry, leases, store and checks keep their promises through kills, pauses, full disks and set clocks."""
        run_state_machine_as_test(Registrations, settings=SETTINGS)

    def test_calls(self) -> None:
        """Meanwhile calls run at most once, at nodes that are registered and not ejected, and end in time."""
        run_state_machine_as_test(Calls, settings=SETTINGS)

    def test_messages(self) -> None:
        """Each message reaches each subscriber once and in order, and one member of a queue; outboxes stay bounded."""
        run_state_machine_as_test(Messages, settings=SETTINGS)
