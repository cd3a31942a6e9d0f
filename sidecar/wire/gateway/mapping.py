"""Which service, and which method of it, a path means. Pure.

:source: micro/go-api@0d3ead1:router and :handler (the sidecar of 2018), micro/micro@45ded138~1:sidecar
"""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from attrs import frozen

#: The namespace of services that are called by path, and that of web apps.
SERVICES: Final = "go.micro.srv"
WEB: Final = "go.micro.web"

_VERSION = re.compile(r"v[0-9]+")
_APP = re.compile(r"[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*")
#: Characters of a path that is looked at.
_LONGEST: Final = 1024


@frozen
class PathTarget:
    """What a path means.

    :ivar service: with its namespace. :ivar bare: without.
    :ivar method: ``Say.Hello``, "" where the whole request goes to a node of the service.
    """

    service: str
    bare: str
    method: str = ""


def is_clean(path: bytes) -> bool:
    """Whether it is written as paths are: no segment of it is empty, a dot or two."""
    return posixpath.normpath(path) == path and not path.startswith(b"//")


def of_call(path: bytes, namespace: str) -> PathTarget | None:
    """The method that a call by path is for: its last two segments; the service is all of it but these.

    ``/say/hello`` is ``Say.Hello`` of ``say``, ``/greeter/say/hello`` that of ``greeter``, ``/v1/say/hello`` that of
    ``v1.say`` (three segments, the first of which is a version).

    :param path: as it came, escaped, without its query. :param namespace: "" for none.
    :returns: None where the path means no method.
    """
    segments = _segments(path)
    if len(segments) < 2:
        return None
    if len(segments) == 2 or (len(segments) == 3 and _VERSION.fullmatch(segments[0])):
        service = segments[:-1]
    else:
        service = segments[:-2]
    method = ".".join(_exported(segment) for segment in segments[-2:])
    return _target(".".join(service), namespace, method)


def of_app(path: bytes, namespace: str) -> PathTarget | None:
    """The service to a node of which a request goes whole: its first segment, perhaps after a version.

    :param path: as it came. :param namespace: "" for none. :returns: None where the path names no service.
    """
    first, _, rest = path[1:].partition(b"/")
    if first[:1] == b"v" or first[:1] == b"%":
        return _app(first, rest.partition(b"/")[0], namespace)
    return _app(first, b"", namespace)


@lru_cache(maxsize=256)
def _app(first: bytes, second: bytes, namespace: str) -> PathTarget | None:
    """:param second: the segment after the first, where that may be a version."""
    names = [_text(first[:_LONGEST])]
    if _VERSION.fullmatch(names[0]):
        names.append(_text(second[:_LONGEST]))
    return _target(".".join(names), namespace, "") if _APP.fullmatch(names[-1]) else None


def _segments(path: bytes) -> list[str]:
    if len(path) > _LONGEST:
        return []
    text = _text(path)
    if not text.isprintable() or "\ufffd" in text:
        return []
    return [segment for segment in posixpath.normpath(text).split("/") if segment]


def _text(path: bytes) -> str:
    return unquote_to_bytes(path).decode("utf-8", "replace")


def _exported(segment: str) -> str:
    """A segment as a Go name: ``baz-xyz`` is ``BazXyz``."""
    return "".join(part[:1].upper() + part[1:] for part in segment.split("-"))


def _target(bare: str, namespace: str, method: str) -> PathTarget:
    return PathTarget(f"{namespace}.{bare}" if namespace else bare, bare, method)
