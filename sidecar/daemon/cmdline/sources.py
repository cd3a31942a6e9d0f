"""What the command line, the environment and files of secrets say of each flag, in the words in which they say it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen
from twisted.python.usage import UsageError

from sidecar.daemon.cmdline.flags import BY_NAME, FLAGS, Flag
from sidecar.daemon.cmdline.given import ENVIRONMENT, FILE, FLAG
from sidecar.daemon.cmdline.unsupported import UNSUPPORTED
from sidecar.redaction import redacted

#: The word that may stand anywhere among the flags, once.
WORD = "sidecar"
_HELP = {"help": "help", "h": "help", "version": "version", "v": "version"}
#: Variables that only the client commands read.
_CLIENT_VARIABLES = frozenset({"MICRO_CA_FILE", "MICRO_TOKEN"})
#: What Kubernetes and Docker links set by themselves in every container beside a service, and the value of such a port.
_LINK = re.compile(r"MICRO_(.*_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)")
_LINK_PORT = re.compile(r"(tcp|udp|sctp)://\S+")
#: Bytes of the largest secret.
_LONGEST_SECRET = 64 * 1024
_NO_TEXT = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class HelpAsked(Exception):
    """``--help`` or ``--version`` stands among the flags. :ivar name: which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@frozen
class GivenValue:
    """One value as the user wrote it.

    :ivar where: what messages call the place: the flag, the variable, or the line of the file.
    :ivar precedence: ``FILE``, ``ENVIRONMENT`` or ``FLAG``.
    """

    where: str
    text: str
    precedence: int

    def shown(self, flag: Flag) -> str:
        """:returns: the text for a message: without secrets, and on one line of printable characters."""
        return "..." if flag.secret else printable(redacted(self.text))


def printable(text: str) -> str:
    """:returns: ``text`` with whatever a terminal cannot show in escapes."""
    escaped = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", escaped)


def check_text(text: str) -> None:
    """:raises ValueError: ``text`` came from bytes that are no UTF-8, or has control characters in it."""
    if _NO_TEXT.search(text):
        raise ValueError("it is not text in UTF-8")
    if _CONTROL.search(text):
        raise ValueError("it has a control character in it")


def from_arguments(arguments: Sequence[str], program: str) -> dict[str, GivenValue]:
    """What the flags say, by the name of the flag.

    :raises UsageError: one of them is none, lacks its value, or is given twice and makes no list.
    :raises HelpAsked: one of them asks for help.
    """
    given: dict[str, GivenValue] = {}
    for flag, value in _flags(arguments, program):
        before = given.get(flag.name)
        if before is not None and not flag.repeatable:
            raise UsageError(
                f"{before.where}={before.shown(flag)} and {value.where}={value.shown(flag)}: it is given twice,"
                " and can have one value; leave one of them out"
            )
        text = value.text if before is None else f"{before.text},{value.text}"
        given[flag.name] = GivenValue(value.where, text, FLAG)
    return given


def _flags(arguments: Sequence[str], program: str) -> Iterator[tuple[Flag, GivenValue]]:
    word = False
    waiting = iter(arguments)
    for argument in waiting:
        if argument == WORD and not word:
            word = True
            continue
        if not argument.startswith("-") or argument.strip("-") == "":
            raise UsageError(f"'{printable(argument)}' is not a flag; flags are --name=value, see {program} --help")
        written, equals, text = argument.lstrip("-").partition("=")
        name = written.replace("-", "_")
        if name in _HELP:
            raise HelpAsked(_HELP[name])
        flag = _flag(name, argument, program)
        if not equals and not flag.switch:
            following = next(waiting, None)
            if following is None:
                raise UsageError(f"--{written} needs a value: --{written}={flag.metavar}")
            text = following
        elif not equals:
            text = "true"
        yield flag, GivenValue(f"--{written}", text, FLAG)


def _flag(name: str, argument: str, program: str) -> Flag:
    flag = BY_NAME.get(name)
    if flag is not None:
        return flag
    written = printable(argument.partition("=")[0])
    if name in UNSUPPORTED:
        raise UsageError(f"{written} is not for the sidecar: {UNSUPPORTED[name]}")
    near = difflib.get_close_matches(name, BY_NAME, 1)
    meant = f"; did you mean --{near[0]}?" if near else f"; see {program} --help"
    raise UsageError(f"{written} is not a flag{meant}")


def from_environment(environ: Mapping[str, str]) -> tuple[dict[str, GivenValue], tuple[str, ...]]:
    """:returns: what the variables say, by the name of the flag, and a warning for each that says nothing to us.

    An empty variable counts as not set, but for the namespace: an empty one prefixes nothing, as by its flag.
    """
    given: dict[str, GivenValue] = {}
    warnings: list[str] = []
    for flag in FLAGS:
        for variable in flag.variables:
            text = environ.get(variable, "")
            if flag.name == "port" and _LINK_PORT.fullmatch(text):
                warnings.append(
                    f"{variable}={redacted(text)} is ignored: Kubernetes and Docker links set it beside a service"
                    " called 'micro'; say where to listen by MICRO_SIDECAR_ADDRESS or --port"
                )
            elif text or (flag.name == "sidecar_namespace" and variable in environ):
                given[flag.name] = GivenValue(variable, text, ENVIRONMENT)
                break
    return given, (*warnings, *_unknown(environ))


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    known = {variable for flag in FLAGS for variable in flag.variables} | _CLIENT_VARIABLES
    unknown = sorted(name for name, text in environ.items() if text and name.startswith("MICRO_") and name not in known)
    links = [name for name in unknown if _LINK.fullmatch(name)]
    if links:
        yield f"{', '.join(links)}: ignored; Kubernetes and Docker links set such variables by themselves"
    for name in unknown:
        instead = UNSUPPORTED.get(name[len("MICRO_") :].lower())
        near = difflib.get_close_matches(name, sorted(known), 1, 0.5)
        if name in links:
            continue
        if instead:
            yield f"{printable(name)} is ignored, it is not for the sidecar: {instead}"
        else:
            meant = f"; did you mean {near[0]}?" if near else "; see --help for those that there are"
            yield f"{printable(name)} is ignored: the sidecar knows no such variable{meant}"


def with_secrets(given: Mapping[str, GivenValue], environ: Mapping[str, str]) -> dict[str, GivenValue]:
    """Put the secrets that stand in files to what was said.

    A secret counts from where it is said loudest, as itself or by its file; where it is said nowhere, a file of
    ``$CREDENTIALS_DIRECTORY`` that is called like the flag holds it (systemd's ``LoadCredential``).

    :raises UsageError: a file cannot be read, or the secret is given itself and by a file, equally loudly.
    """
    found = dict(given)
    for flag in FLAGS:
        if flag.secret and f"{flag.name}_file" in BY_NAME:
            value = _secret(flag, given, environ.get("CREDENTIALS_DIRECTORY", ""))
            if value is not None:
                found[flag.name] = value
    return found


def _secret(flag: Flag, given: Mapping[str, GivenValue], directory: str) -> GivenValue | None:
    itself, file = given.get(flag.name), given.get(f"{flag.name}_file")
    if itself is not None and file is not None and itself.precedence == file.precedence:
        raise UsageError(f"{itself.where} and {file.where} both say what it is; leave one of them out")
    if file is not None and (itself is None or file.precedence > itself.precedence):
        return GivenValue(file.where, _content(file.where, file.text), file.precedence)
    if itself is not None or not directory:
        return itself
    path = os.path.join(directory, flag.name)
    if not os.path.exists(path):
        return None
    return GivenValue(path, _content("$CREDENTIALS_DIRECTORY", path), FILE)


def _content(where: str, path: str) -> str:
    """:returns: the secret in a file, without the newline that editors put at its end."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST_SECRET).decode().rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"{where}={path}: it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{where}={path}: it is not text in UTF-8") from None
    if not text:
        raise UsageError(f"{where}={path}: it is empty")
    return text


@frozen
class UserWords:
    """Puts messages into the words of the user: what came from a variable or a file is called by that, not by its flag.

    :ivar given: what was said, by the name of the flag.
    """

    given: Mapping[str, GivenValue]

    def of(self, message: str) -> str:
        """:param message: names settings by their flags, ``--server_name``."""
        return re.sub(r"--([a-z][a-z0-9_]*)(?![a-z0-9_-])", self._word, message)

    def _word(self, found: re.Match[str]) -> str:
        flag = BY_NAME.get(found[1])
        value = self.given.get(flag.name) if flag is not None else None
        return found[0] if value is None or value.precedence == FLAG else value.where
