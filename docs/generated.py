"""A Sphinx extension: ``@NAME@`` in a page becomes that part of the reference, made from the product's own tables."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from sidecar.cli import help, table
from sidecar.cli.exits import EXIT_CODES
from sidecar.daemon.cmdline.flags import GROUPS
from sidecar.stats.families import FAMILIES
from sidecar.web.openapi.route import Route
from sidecar.web.openapi.routes import COMMON_ERRORS, ROUTES


def commands() -> Iterator[str]:
    """Every command of ``micro`` with its flags."""
    for command in table.COMMANDS:
        yield from _title(f"micro {command.words}", "-")
        yield from _block("text", f"micro {command.words} [flags] {command.arguments}".rstrip())
        yield from _paragraph(f"{_sentence(command.summary)} {command.details}")
        if command.aliases:
            yield from _paragraph(f"Also called {', '.join(command.aliases)}.")
        yield from _definitions((help.spelled(option), help.described(option)) for option in command.options)
        if command.examples:
            yield from _block("shell", "\n".join(command.examples))
    yield from _title("Flags of every command", "-")
    yield from _definitions((help.spelled(option), help.described(option)) for option in table.COMMON)


def exits() -> Iterator[str]:
    """What each exit code says."""
    yield from _definitions((str(code), meaning) for code, meaning in EXIT_CODES)


def flags() -> Iterator[str]:
    """Every flag of the daemon, in the groups of its help."""
    for title, found in GROUPS:
        yield from _title(title, "-")
        for flag in found:
            spelled = f"--{flag.name}" + ("" if flag.switch else f"={flag.metavar}")
            default = f" Default ``{flag.default}``." if flag.default and not flag.switch else ""
            reload = " A reload applies it." if flag.reloadable else ""
            variables = ", ".join(f"``{name}``" for name in flag.variables)
            aliases = f" Also ``--{'``, ``--'.join(flag.aliases)}``." if flag.aliases else ""
            yield from _definition(
                spelled, f"{_markdown(_sentence(flag.help))}{default}{aliases}{reload} [{variables}]"
            )


def routes() -> Iterator[str]:
    """Every route of the API with its parameters, bodies, answers and errors."""
    for route in ROUTES:
        yield from _title(f"{route.method} {route.path}", "-")
        yield from _paragraph(f"**{_escaped(route.summary)}.** {_markdown(route.description)}")
        yield from _paragraph(f"Role: ``{route.role}``." if route.role else "Open to all.")
        yield from _definitions((_parameter(each) for each in route.parameters), escape=False)
        yield from _paragraph(_exchanged(route))
        yield from _definitions((_status(code), told) for code, told in sorted(route.errors.items()))
    yield from _title("Errors of every route", "-")
    yield from _definitions((_status(code), told) for code, told in sorted(COMMON_ERRORS.items()))


def metrics() -> Iterator[str]:
    """Every metric family of ``/metrics``."""
    for family in FAMILIES:
        labels = f" Labels: {', '.join(f'``{name}``' for name in family.labels)}." if family.labels else ""
        yield from _definition(family.name, f"{_escaped(family.help)} ({family.kind}){labels}")


_PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "@COMMANDS@": commands,
    "@EXITS@": exits,
    "@FLAGS@": flags,
    "@ROUTES@": routes,
    "@METRICS@": metrics,
}


def _parameter(each: Any) -> tuple[str, str]:
    needed = "required, " if each.required else ""
    choices = each.schema.get("enum")
    values = f" One of {', '.join(f'``{one}``' for one in choices)}." if choices else ""
    return each.name, f"({needed}{each.place}) {_markdown(_sentence(each.description))}{values}"


def _exchanged(route: Route) -> str:
    taken = f"Takes {_list(route.bodies)}. " if route.bodies else ""
    if route.websocket:
        return f"{taken}Answers with a WebSocket."
    given = f" with {_list(route.answers)}" if route.answers else ""
    return f"{taken}Answers {route.status}{given}."


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"``{name}``" for name in names)


def _status(code: int) -> str:
    return f"{code} {HTTPStatus(code).phrase}"


def _title(text: str, line: str) -> list[str]:
    return ["", text, line * len(text), ""]


def _block(language: str, text: str) -> list[str]:
    return ["", f".. code-block:: {language}", "", *textwrap.indent(text, "   ").splitlines(), ""]


def _paragraph(text: str) -> list[str]:
    return ["", text.strip(), ""]


def _definition(term: str, text: str) -> list[str]:
    return [f"``{term}``", f"   {text}", ""]


def _definitions(rows: Iterable[tuple[str, str]], escape: bool = True) -> list[str]:
    return [line for term, text in rows for line in _definition(term, _escaped(text) if escape else text)]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\*`|_:" else letter for letter in text)


def _markdown(text: str) -> str:
    """:returns: the table's own text, which quotes code by one backquote, for reStructuredText."""
    parts = text.split("`")
    return "".join(f"``{part}``" if index % 2 else _escaped(part) for index, part in enumerate(parts))


def fill(app: object, name: str, source: list[str]) -> None:
    """Put the parts in their places."""
    for mark, part in _PARTS.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, "\n".join(part()))


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
