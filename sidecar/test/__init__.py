"""The promises, as tests. Mirrors the tree."""

import os
import sys

from sidecar.test import plan

plan.announce(sys.argv)

if os.path.basename(sys.argv[0]) == "workertrial.py":
    # trial -j hands its workers the whole of its path. What tests start has one of its own, such as another Python's.
    os.environ.pop("PYTHONPATH", None)

try:
    from hypothesis import HealthCheck, settings
except ImportError:
    pass  # contracts are of use without it
else:
    # How long an example takes says something of the machine and its load, nothing of us.
    settings.register_profile("microsidecar", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("microsidecar")
