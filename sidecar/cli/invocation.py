"""What a client command is given, and how it speaks."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from sidecar.cli import output
from sidecar.cli.api import Api, Failed, Trust
from sidecar.cli.arguments import Arguments, Wrong
from sidecar.cli.exits import FAULT, NOT_FOUND, USAGE


@dataclass
class Invocation:
    """One run of a command."""

    arguments: Arguments

    @property
    def words(self) -> list[str]:
        """What follows the command's name."""
        return self.arguments.words

    @cached_property
    def api(self) -> Api:
        """The sidecar that the flags name. :raises Wrong, Failed: they make no sense."""
        given = self.arguments
        trust = Trust(given.text("ca_file"), given.text("cert_file"), given.text("key_file"), given.given("insecure"))
        timeout = given.seconds("timeout")
        assert timeout is not None
        return Api(given.text("proxy_address"), trust, timeout, self._token())

    def _token(self) -> str:
        path = self.arguments.text("token_file")
        if not path:
            return self.arguments.environ.get("MICRO_TOKEN", "").strip()
        try:
            with open(path, encoding="ascii") as file:
                token = file.read(4096).strip()
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "it holds no token"
            raise Failed(f"--token_file={path}: {why}", code=USAGE) from None
        if not token or len(token.split()) != 1:
            raise Failed(f"--token_file={path}: it holds no token, which is one word", code=USAGE)
        return token

    def need(self, count: int, what: str) -> None:
        """:raises Wrong: there are fewer words than the command needs."""
        if len(self.words) < count:
            raise Wrong(f"require {what}")
        for word in self.words[:count]:
            self.check_text(word)

    @staticmethod
    def check_text(word: str) -> None:
        """:raises Wrong: it is no text, and so no name of anything."""
        try:
            word.encode()
        except UnicodeEncodeError:
            raise Wrong(f"{word!a} is no text in UTF-8") from None

    def show(self, data: Any, table: str) -> int:
        """Print data in the form that ``--output`` asks for. :param table: the form for people. :returns: 0."""
        form = self.arguments.text("output")
        return say(table if form == "table" else output.formed(data, form))


def say(text: str) -> int:
    """Print ``text`` on standard output, if there is any. :returns: 0, the exit code of success."""
    if text:
        sys.stdout.write(output.visible(text) + "\n")
        sys.stdout.flush()
    return 0


def complain(text: str, bare: bool = False, code: int = FAULT) -> int:
    """Say what is wrong on standard error. :param bare: without our name before it. :returns: ``code``."""
    sys.stdout.flush()
    shown = output.visible(text)
    sys.stderr.write(shown + "\n" if bare else f"micro: {shown}\n")
    sys.stderr.flush()
    return code


def not_found(text: str) -> NoReturn:
    """:raises Failed: always, with the exit code of what is not there."""
    raise Failed(text, code=NOT_FOUND)


def coloured(stream: Any, environ: Any = os.environ) -> bool:
    """Whether ``stream`` may have colours: a terminal, and nobody asked for none.

    :source: no-color.org."""
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()
