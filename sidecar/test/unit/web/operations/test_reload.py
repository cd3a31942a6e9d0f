"""POST /reload tells what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from sidecar.errors import ConfigError
from sidecar.test.doubles.clients.resources import Asking
from sidecar.web.operations.reload import ReloadResource


class ReloadTests(SynchronousTestCase):
    def test_reloaded(self) -> None:
        """With what needs a restart; only POST does it."""
        asking = Asking(ReloadResource(lambda: ["--port"]))
        heard = asking.ask("POST", "/reload")
        self.assertEqual((heard.status, heard.json), (200, {"status": "ok", "needs_restart": ["--port"]}))
        self.assertEqual(asking.ask("GET", "/reload").status, 405)

    def test_no_good(self) -> None:
        """A 400 that says what is wrong."""

        def refuse() -> Sequence[str]:
            raise ConfigError("sidecar.toml line 3: prot is no setting")

        status, detail = Asking(ReloadResource(refuse)).ask("POST", "/reload").error
        self.assertEqual(status, 400)
        self.assertIn("sidecar.toml line 3", detail)
