"""The product's own source, read for the tests that hold its architecture, and for the list of files in the documents.

``python -m sidecar.test.source docs/architecture.rst`` writes the list anew.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from attrs import frozen

import sidecar

ROOT = Path(sidecar.__file__).parent.parent
_BEGIN, _END = ".. the files begin", ".. the files end"


@frozen
class Module:
    """One file of the product.

    :ivar name: its dotted name; a package's own for an ``__init__``.
    :ivar path: relative to the checkout, with slashes.
    """

    name: str
    path: str
    tree: ast.Module
    lines: int

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def top(self) -> str:
        """The first name below ``sidecar``: what the order of the imports is told by."""
        return top(self.name)

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @property
    def sentence(self) -> str:
        """The first sentence of its docstring, on one line, its references as plain names."""
        paragraph = " ".join(self.docstring.partition("\n\n")[0].split())
        return re.sub(r":\w+:`~?([^`]*)`", r"``\1``", re.split(r"(?<=[.?!]) (?=[A-Z`])", paragraph)[0])

    def imports(self) -> Iterator[str]:
        """Every dotted name that it imports, wherever the import stands: in a function, under ``TYPE_CHECKING``."""
        for statement in ast.walk(self.tree):
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    yield alias.name
            elif isinstance(statement, ast.ImportFrom):
                # A relative import would name no module; it is told as what it is, and no rule allows it.
                base = "." * statement.level + (statement.module or "")
                for alias in statement.names:
                    yield f"{base}.{alias.name}"

    def names(self) -> Iterator[str]:
        """Every name that it gives: to itself, classes, functions, parameters, variables and attributes."""
        yield self.name.rpartition(".")[2]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name
            elif isinstance(node, ast.arg):
                yield node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield node.attr

    def classes(self) -> Iterator[str]:
        """Its public classes, those in classes apart."""
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name

    def defines(self, dotted: str) -> bool:
        """Whether a function or class of this name, or a method (``Class.method``), stands in it."""
        body: list[ast.stmt] = self.tree.body
        for name in dotted.split("."):
            found = [
                node
                for node in body
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
            ]
            if not found:
                return False
            body = found[0].body
        return True

    def docstrings(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""


def top(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "sidecar" else ""


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the product, in order of path; tests left out."""
    found = []
    for path in sorted(Path(sidecar.__file__).parent.rglob("*.py")):
        relative = path.relative_to(ROOT)
        parts = relative.with_suffix("").parts
        if parts[1] == "test":
            continue
        text = path.read_text("utf-8")
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, relative.as_posix(), ast.parse(text), text.count("\n")))
    return tuple(found)


def foreign_private_names() -> set[str]:
    """The private attributes that the product uses and nowhere defines: those of its libraries."""
    ours = {name for module in modules() for name in module.names()}
    used = {node.attr for module in modules() for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    return {name for name in used - ours if name.startswith("_") and not name.endswith("__")}


def words(name: str) -> list[str]:
    """The words of a name, in lower case: ``_QueueGroup`` and ``queue_group`` are of two."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def file_graph() -> dict[str, set[str]]:
    """Which module imports which."""
    known = {module.name for module in modules()}
    graph: dict[str, set[str]] = {name: set() for name in known}
    for module in modules():
        for target in module.imports():
            while target and target not in known:
                target = target.rpartition(".")[0]
            if target not in ("", "sidecar", module.name):
                graph[module.name].add(target)
    return graph


def folder_graph() -> dict[str, set[str]]:
    """Which folder's files import which folder's; each file right in ``sidecar/`` counts as a folder."""
    places = {module.name: module.path if module.folder == "sidecar" else module.folder for module in modules()}
    graph: dict[str, set[str]] = {place: set() for place in places.values()}
    for name, targets in file_graph().items():
        graph[places[name]] |= {places[target] for target in targets} - {places[name]}
    return graph


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """What imports itself in the end: each set of more than one that all reach one another."""
    reach = {start: _reachable(graph, start) for start in graph}
    found = {tuple(sorted({start, *(other for other in reach[start] if start in reach[other])})) for start in graph}
    return [list(circle) for circle in sorted(found) if len(circle) > 1]


def _reachable(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead.extend(graph[name])
    return seen


def file_list() -> str:
    """One sentence a file, from the docstrings of the modules, folder by folder."""
    lines: list[str] = []
    for module in sorted(modules(), key=lambda one: (one.folder, not one.path.endswith("__init__.py"), one.path)):
        if module.path.endswith("__init__.py"):
            lines += ["", f"``{module.folder}/``", f"    {module.sentence}", ""]
        else:
            lines.append(f"    - ``{module.path.rpartition('/')[2]}``: {module.sentence}")
    return "\n".join(lines).strip("\n") + "\n"


def between(document: str) -> str:
    """What stands in the document where the list of files does."""
    return document.partition(_BEGIN)[2].partition(_END)[0].strip("\n") + "\n"


def write(document: Path) -> None:
    """Put the list of files into a document, in place of the one that is there."""
    text = document.read_text("utf-8")
    before, found, rest = text.partition(_BEGIN)
    _, closed, after = rest.partition(_END)
    if not found or not closed:
        raise SystemExit(f"{document} has no lines {_BEGIN!r} and {_END!r}, between which the list goes.")
    document.write_text(f"{before}{_BEGIN}\n\n{file_list()}\n{_END}{after}", "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Usage: python -m sidecar.test.source docs/architecture.rst")
    write(Path(sys.argv[1]))
