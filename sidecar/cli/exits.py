"""The exit codes of the client commands."""

from __future__ import annotations

#: What a script can rely on: the exit codes of every client command.
EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "it worked"),
    (1, "the service answered an error of its own, or the sidecar refused"),
    (2, "the command line makes no sense"),
    (3, "there is no such service, topic, app or file"),
    (4, "not reachable: no sidecar, no node, or nobody answered for it"),
    (124, "it took longer than allowed"),
    (130, "interrupted"),
    (141, "whoever read the output closed it"),
)
OK, FAULT, USAGE, NOT_FOUND, UNAVAILABLE, TIMED_OUT, INTERRUPTED, BROKEN_PIPE = (code for code, _ in EXIT_CODES)
