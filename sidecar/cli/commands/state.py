"""``micro repair``: saves what can be read of a damaged data directory."""

from __future__ import annotations

import os
from pathlib import Path

from sidecar.cli.api import Failed
from sidecar.cli.arguments import Wrong
from sidecar.cli.invocation import Invocation, not_found
from sidecar.daemon.datadir import DirectoryUnusable, lock
from sidecar.errors import ConfigError


def repair(invocation: Invocation) -> int:
    """Put what can be read of the directory's file into a new one in its place."""
    given = invocation.arguments.text("data_dir")
    if not given:
        raise Wrong("--data_dir is missing: say which directory to repair")
    # Imported here: no other command needs SQLite.
    from sidecar.registry.storefile import NAME
    from sidecar.registry.storerepair import repair as repaired

    path = Path(given) / NAME
    if not path.exists():
        not_found(f"there is no {path}")
    try:
        held = lock(Path(given))
    except DirectoryUnusable as error:
        raise Failed(f"{error}; stop it first" if error.locked else str(error)) from None
    try:
        saved = repaired(path)
    except (OSError, ConfigError) as error:
        raise Failed(f"{path} cannot be repaired: {error}") from None
    finally:
        os.close(held)
    count = (saved["registrations"], saved["apps"], saved["entries"])
    said = "{} registrations, {} ids of apps, {} entries of the journal".format(*count)
    return invocation.show(saved, f"{path}: saved {said}; the damaged file is kept beside it")
