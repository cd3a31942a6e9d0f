"""``/health``: the app's own state where there is an app, else ours; ``/check``: an app says itself how it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol
from urllib.parse import unquote_to_bytes

from sidecar.errors import BadRequest, NotFound
from sidecar.interfaces import IAppHealth
from sidecar.problems import AppUnhealthy
from sidecar.web.params import body, query
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json

#: Below this path each check has its own.
PREFIX = b"/check/"
#: Bytes of the longest note that is taken.
_MOST = 4096
_WORDS = ("pass", "warn", "fail")
EMPTY_APPS: Mapping[str, IAppHealth] = MappingProxyType({})


class HealthResource(MethodResource):
    """GET tells how the app is by its last checks, without asking it again: a load balancer may call as often as it
    likes and the app is not disturbed."""

    def __init__(self, app: IAppHealth | None, apps: Mapping[str, IAppHealth] = EMPTY_APPS) -> None:
        """:param app: what the healthchecker knows, or None where no app was given to us. :param apps: the same of each
        app by its name; they come and go."""
        super().__init__({"GET": self._tell})
        self._app = app
        self._apps = apps
        self._ours = of_json({"status": "ok"})

    def _tell(self, request: Request) -> Answer:
        name = query(request.uri).expect("app").one("app")
        if name is not None:
            if name not in self._apps:
                known = f"there are {', '.join(sorted(self._apps))}" if self._apps else "there is none"
                raise NotFound(f"no app {name!r} is beside this sidecar; {known}")
            return of_json(_told(self._apps[name]))
        if self._app is None:
            return self._ours
        told = _told(self._app)
        if len(self._apps) > 1:
            told["apps"] = {each: _state(app) for each, app in self._apps.items()}
        return of_json(told)


def _told(app: IAppHealth) -> dict[str, object]:
    """:raises AppUnhealthy: it is ill, or was not checked yet."""
    if app.healthy() is False:
        said = "; ".join((f"the app is not healthy: {app.explain()}", *app.warnings()))
        raise AppUnhealthy(said, app.status())
    return _state(app)


def _state(app: IAppHealth) -> dict[str, object]:
    healthy, warnings = app.healthy(), app.warnings()
    told: dict[str, object] = {"status": "ok"}
    if healthy is not None:
        told["detail"] = app.explain()
    if warnings:
        told["warnings"] = warnings
    return told


def beats(method: bytes, path: bytes) -> bool:
    """Whether a request is a heartbeat."""
    return (
        path.startswith(PREFIX) and method in (b"PUT", b"POST") and path.rpartition(b"/")[2].decode("latin-1") in _WORDS
    )


class IHeartbeat(Protocol):
    """A check that waits for the app."""

    def beat(self, word: str, note: str) -> None:
        """Take a heartbeat. :param word: pass, warn or fail. :param note: what the app has to say with it."""


class CheckResource(MethodResource):
    """PUT is a heartbeat, its body a note for people. POST does for those that cannot PUT."""

    def __init__(self, heartbeats: Callable[[], Mapping[str, IHeartbeat]]) -> None:
        """:param heartbeats: gives the checks of the kind ``ttl``, by name."""
        super().__init__({"PUT": self._beat, "POST": self._beat})
        self._heartbeats = heartbeats

    def _beat(self, request: Request) -> Answer:
        name, _, word = unquote_to_bytes(request.path[len(PREFIX) :]).decode("utf-8", "replace").rpartition("/")
        if word not in _WORDS or not name:
            raise NotFound(f"a heartbeat goes to /check/<name of the check>/{'|'.join(_WORDS)}")
        heartbeats = self._heartbeats()
        waiting = heartbeats.get(name)
        if waiting is None:
            known = f"there are {', '.join(sorted(heartbeats))}" if heartbeats else "the configuration file names none"
            raise NotFound(f"no check {name!r} waits for heartbeats (ttl); {known}")
        try:
            note = body(request, _MOST).decode().strip()
        except UnicodeDecodeError:
            raise BadRequest("the body is a note for people, and no text in UTF-8") from None
        waiting.beat(word, note)
        return of_json({"status": "ok"})
