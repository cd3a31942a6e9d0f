"""Runs one client command: reads its arguments, finds its function, and turns what goes wrong into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

from sidecar import __version__
from sidecar.cli import arguments, help
from sidecar.cli.api import Failed
from sidecar.cli.arguments import Wrong
from sidecar.cli.exits import BROKEN_PIPE, INTERRUPTED, USAGE
from sidecar.cli.invocation import Invocation, complain, say
from sidecar.cli.table import Command


def main(given: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """:param given: the command line, without the program's name. :returns: the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot show is shown in escapes: a name from elsewhere must never end us with a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        parsed = arguments.parse(given, environ)
        if parsed.given("version"):
            return say(f"microsidecar {__version__}")
        if parsed.command is None:
            return say(help.overview())
        if parsed.given("help"):
            return say(help.of(parsed.command))
        return function(parsed.command)(Invocation(parsed))
    except Wrong as error:
        return complain(str(error), code=USAGE)
    except Failed as error:
        return complain(str(error), code=error.code)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED


def function(command: Command) -> Callable[[Invocation], int]:
    """:returns: what runs ``command``; its module is imported only now, since some are slow to load."""
    module, _, name = command.run.partition(":")
    found: Callable[[Invocation], int] = getattr(import_module(f"sidecar.cli.commands.{module}"), name)
    return found
