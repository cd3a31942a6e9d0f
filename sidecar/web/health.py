"""``/health``: the app's own state where there is an app, else ours."""

from __future__ import annotations

from sidecar.interfaces import IAppHealth
from sidecar.problems import AppUnhealthy
from sidecar.web.resource import MethodResource
from sidecar.web.response import Answer, Request, of_json


class HealthResource(MethodResource):
    """GET tells how the app is by its last checks, without asking it again: a load balancer may call as often as it
    likes and the app is not disturbed."""

    def __init__(self, app: IAppHealth | None) -> None:
        """:param app: what the healthchecker knows, or None where no app was given to us."""
        super().__init__({"GET": self._tell})
        self._app = app
        self._ours = of_json({"status": "ok"})

    def _tell(self, request: Request) -> Answer:
        if self._app is None:
            return self._ours
        healthy, warnings = self._app.healthy(), self._app.warnings()
        if healthy is False:
            said = "; ".join((f"the app is not healthy: {self._app.explain()}", *warnings))
            raise AppUnhealthy(said, self._app.status())
        told: dict[str, object] = {"status": "ok"}
        if healthy is not None:
            told["detail"] = self._app.explain()
        if warnings:
            told["warnings"] = warnings
        return of_json(told)
