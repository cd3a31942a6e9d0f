"""A wall clock that a test sets while a program runs: Debian's libfaketime, which leaves the monotonic clock alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from attrs import define, field

#: Where Debian's package, and builds from source, put the library; the first is for programs with threads.
_PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def library() -> str | None:
    """The path of the library, None where it is not installed."""
    found = (str(path) for place in _PLACES for path in Path("/").glob(place[1:]))
    return next(found, None)


def unavailable() -> str | None:
    """Why no clock can be set here, for a test's ``skip``; None where one can."""
    return None if library() else "not installed: faketime (libfaketimeMT.so.1)"


@define(eq=False)
class WallClock:
    """The wall clock of the processes that run in :attr:`environment`."""

    _file: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="faketime-")) / "now")

    def set_off(self, seconds: int) -> None:
        """Set it. :param seconds: from the true time, negative for the past."""
        # Renamed into place: a reader never finds half of it.
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}s\n")
        fresh.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in its environment. Call :meth:`set_off` first."""
        return {
            "LD_PRELOAD": library() or "",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def remove(self) -> None:
        for path in self._file.parent.iterdir():
            path.unlink()
        self._file.parent.rmdir()
