"""``/reload``: what can change is read again, as at a SIGHUP, and whoever asked is told what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidecar.errors import BadRequest, ConfigError
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json


class ReloadResource(MethodResource):
    """POST reads files again. Settings that are no good are a 400 with the reason, and nothing has changed."""

    def __init__(self, reload: Callable[[], Sequence[str]]) -> None:
        """:param reload: reads them, and gives what changed and needs a restart; raises ConfigError."""
        super().__init__({"POST": self._reload})
        self._read_again = reload

    def _reload(self, request: Request) -> Answer:
        try:
            waiting = self._read_again()
        except ConfigError as error:
            raise BadRequest(f"nothing was reloaded: {error}") from None
        return of_json({"status": "ok", "needs_restart": list(waiting)})
