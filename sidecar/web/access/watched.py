"""A file that is read again when it has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.logger import Logger

from sidecar.errors import ConfigError

_T = TypeVar("_T")


class WatchedFile(Generic[_T]):
    """What a file holds, as it is now. One that is no good any more leaves what it held before in use, and the log says
    why. :ivar generation: how often it has changed."""

    log = Logger()

    def __init__(self, path: str, read: Callable[[str], _T]) -> None:
        """:raises ConfigError: it is no good now."""
        self._path = path
        self._read = read
        self.generation = 0
        self._stamp = self._look()
        self._value = read(path)

    def current(self) -> _T:
        """:returns: what it holds. It costs one look at the file's date."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._value = self._read(self._path)
            except ConfigError as error:
                self.log.error("What was read before stays in use: {error}", error=error)
            else:
                self.generation += 1
        return self._value

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
