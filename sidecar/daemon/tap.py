"""What ``twistd microsidecar`` runs, and ``micro sidecar`` too: options in, one running service out."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python import usage

from sidecar import __version__
from sidecar.daemon import exposure
from sidecar.daemon.cmdline import options
from sidecar.daemon.cmdline.sources import printable
from sidecar.daemon.signals import Signals
from sidecar.daemon.systemd.notify import Notifier
from sidecar.errors import ConfigError, UnsafeSetting
from sidecar.net import allocator
from sidecar.net.reactor.epoll import ensure
from sidecar.redaction import redacted

if TYPE_CHECKING:
    from sidecar.daemon.assembly import Daemon
    from sidecar.daemon.logs.observer import LineObserver

#: Exit codes: of a flag that is wrong, and of a setting that turned out not to work.
WRONG_USAGE = 2
CANNOT_START = 1

#: How many new objects the garbage collector waits for, and how many of its runs on these for one on older ones.
COLLECT = 5000, 10, 10
#: More descriptors than any sidecar needs.
_MANY_FILES = 1_048_576


class TwistdOptions(options.Options):
    """The options as twistd's sub-command. Faults end the process here: twistd would print the whole help over them."""

    def __init__(self) -> None:
        super().__init__(program="twistd microsidecar")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        parse(super(), options or ())
        if "reactor" in self.flagged:
            exit_with(WRONG_USAGE, f"--reactor={self['reactor']}: give it to twistd: twistd --reactor=... microsidecar")
        if self.settings.log.told and self.parent is not None:
            # twistd's own way to another log: it takes the name of what makes the observer.
            os.environ["MICRO_LOG_FORMAT"] = self.settings.log.format
            os.environ["MICRO_LOG_LEVEL"] = str(self.settings.log.levels)
            self.parent["logger"] = "sidecar.daemon.logs.observer.from_environment"


#: As twistd looks for it.
Options = TwistdOptions


def parse(parser: Any, arguments: Sequence[str]) -> None:
    """Parse, or end the process: with a text that was asked for, or one line about what is wrong."""
    try:
        parser.parseOptions(arguments)
    except usage.UsageError as error:
        exit_with(WRONG_USAGE, str(error))
    except options.TextAsked as asked:
        sys.stdout.write(asked.text.rstrip("\n") + "\n")
        sys.stdout.flush()
        raise SystemExit(0) from None


def exit_with(code: int, sentence: str) -> None:
    """One line on standard error, and out."""
    sys.stderr.write(f"microsidecar: {printable(redacted(sentence))}\n")
    sys.stderr.flush()
    raise SystemExit(code) from None


def makeService(options: TwistdOptions) -> service.IService:
    """twistd's plugin hook."""
    ensure()  # the default where twistd was given no --reactor
    from twisted.internet import reactor

    return make(options, reactor)


def make(parsed: options.Options, reactor: Any) -> Root:
    """:returns: the whole daemon with its port bound, not started. Ends the process where a setting cannot work."""
    # Imported here: ``--help`` and a wrong flag should not wait for the whole program.
    from sidecar.daemon.assembly import assemble
    from sidecar.net.client.resolver import CachingResolver

    allocator.tune()
    CachingResolver(reactor).install()

    root = Root(reactor, Notifier(reactor, os.environ), parsed)
    Signals(reactor, root.reload).install()
    try:
        root.daemon = assemble(parsed.settings, reactor, root.read_again)
    except ConfigError as error:
        wrong = WRONG_USAGE if isinstance(error, UnsafeSetting) else CANNOT_START
        exit_with(wrong, parsed.words.of(str(error)))
    for warning in (*parsed.warnings, *exposure.warnings(parsed.settings, root.daemon.listener.host)):
        root.log.warn("{warning}", warning=warning)
    root.notifier.status = root.daemon.status
    root.daemon.service.setServiceParent(root)
    root.notifier.setServiceParent(root)
    allocator.trimmer(reactor).setServiceParent(root)
    # What is here now stays. Where thousands of requests wait they are many new objects, and the collector would look
    # through everything each time, for tens of milliseconds.
    gc.set_threshold(*COLLECT)
    reactor.callWhenRunning(gc.freeze)
    return root


class Root(service.MultiService):
    """The daemon and what ties it to the process. A setting that turns out not to work while it starts ends the process
    with one line."""

    log = Logger()
    daemon: Daemon
    #: What writes the log, where it is ours.
    observer: LineObserver | None = None

    def __init__(self, reactor: Any, notifier: Notifier, parsed: options.Options) -> None:
        """:param parsed: the command line and what came with it, to be read again."""
        super().__init__()
        self.parsed = parsed
        self._reactor = reactor
        self.notifier = notifier

    def _announce(self) -> None:
        """Say in one line what runs here."""
        if self.running:
            self.log.info("microsidecar {version} runs: {status}", version=__version__, status=self.daemon.status())

    def reload(self) -> None:
        """Read the files again, as a signal asks; what is no good is logged, and the old stays in use."""
        try:
            self.read_again()
        except ConfigError as error:
            self.log.error("The settings and certificates in use stay: {error}", error=error)

    def read_again(self) -> Sequence[str]:
        """Read the files again, and apply what can change while we run.

        :returns: what changed and needs a restart, as the user named it.
        :raises ConfigError: something is no good, in the words of the user; everything is as it was."""
        self.notifier.reloading()
        try:
            fresh = self.parsed.again()
            self.daemon.reload(fresh.settings)
        except (ConfigError, usage.UsageError) as error:
            said = printable(redacted(self.parsed.words.of(str(error))))
            self.notifier.reloaded(f"Reload failed: {said}")
            raise ConfigError(said) from None
        waiting = self.parsed.changed(fresh)
        if fresh.settings.tls.enabled != self.parsed.settings.tls.enabled:
            waiting.append("--enable_tls")  # whether a port speaks TLS is settled when it is opened
        if waiting:
            self.log.warn("{names}: changed, and in use after a restart only", names=", ".join(waiting))
        self.parsed = fresh
        if self.observer is not None:
            self.observer.levels = fresh.settings.log.levels
        self.log.info("Reloaded: {status}", status=self.daemon.status())
        self.notifier.reloaded("Reloaded")
        return waiting

    def startService(self) -> None:
        raise_file_limit()
        try:
            super().startService()
        except ConfigError as error:
            exit_with(CANNOT_START, str(error))
        self._reactor.callWhenRunning(self._announce)

    def stopService(self) -> Deferred[list[tuple[bool, Any]]]:
        stopped: Deferred[list[tuple[bool, Any]]] = super().stopService()
        return stopped.addCallback(self._stopped)

    def _stopped(self, results: list[tuple[bool, Any]]) -> list[tuple[bool, Any]]:
        self.log.info("Stopped")
        return results


def raise_file_limit() -> None:
    """Let this process have every descriptor that it may: each connection takes one, and shells give 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError) as error:
            Root.log.warn("The limit of {soft} open files stays: {error}", soft=soft, error=error)
