"""The command line of a client command. Knows nothing of the daemon, so that nothing of it is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Where a sidecar listens unless it is told otherwise.
DEFAULT_ADDRESS = "127.0.0.1:8081"
#: The word that means the daemon.
DAEMON = "sidecar"

#: Flags with a value, and flags without.
_VALUED = ("proxy_address", "ca_file", "cert_file", "key_file", "timeout", "queue", "format", "count")
_SWITCHES = ("insecure", "help", "version")
_SHORT = {"h": "help", "v": "version"}


class Wrong(Exception):
    """The command line makes no sense; the text says why."""


@dataclass
class Arguments:
    """:ivar words: what is no flag, in order. :ivar flags: by name with ``_``; switches are "true"."""

    words: list[str] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)


def is_for_the_daemon(given: Sequence[str]) -> bool:
    """
    :returns: whether the first word is ``sidecar``, or a flag that only the daemon may have stands before it.
    :raises Wrong: such a flag is there, and nothing names the daemon.
    """
    waiting = iter(given)
    for argument in waiting:
        if not argument.startswith("-"):
            return argument == DAEMON
        name, equals, _ = _split(argument)
        if name in _VALUED:
            if not equals:
                next(waiting, None)
        elif name not in _SWITCHES:
            if DAEMON in given:
                return True
            flag = argument.partition("=")[0]
            raise Wrong(f"{flag} is no flag of the client commands; to run a sidecar with it: micro sidecar")
    return False


def parse(given: Sequence[str]) -> Arguments:
    """:raises Wrong: an unknown flag, or one without its value."""
    found = Arguments()
    waiting = iter(given)
    for argument in waiting:
        if argument == "--":
            found.words.extend(waiting)
        elif not argument.startswith("--") and argument.lstrip("-") not in _SHORT:
            # A JSON number may begin with a minus, and "-" alone is a word of its own.
            found.words.append(argument)
        else:
            name, equals, value = _split(argument)
            if name in _VALUED:
                following = value if equals else next(waiting, None)
                if following is None:
                    raise Wrong(f"{argument} needs a value")
                found.flags[name] = following
            elif name in _SWITCHES:
                if not equals or value.lower() in ("true", "1"):
                    found.flags[name] = "true"
            else:
                raise Wrong(f"{argument.partition('=')[0]} is not a flag of this command; see micro --help")
    return found


def address(arguments: Arguments, environ: Mapping[str, str]) -> str:
    """:returns: where the sidecar is: the flag, else the environment, else the default."""
    return arguments.flags.get("proxy_address") or environ.get("MICRO_PROXY_ADDRESS") or DEFAULT_ADDRESS


def _split(argument: str) -> tuple[str, str, str]:
    name, equals, value = argument.lstrip("-").partition("=")
    name = name.replace("-", "_")
    return _SHORT.get(name, name), equals, value
