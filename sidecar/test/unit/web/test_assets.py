"""The parts of the dashboard: what is given, how, and what they may not hold."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.resources import Asking, Heard
from sidecar.web import assets


class AssetsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.assets = assets.read_all()

    def ask(self, target: str, **headers: str) -> Heard:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return Asking(assets.AssetsResource(self.assets)).ask("GET", target, headers=fields)

    def test_given(self) -> None:
        """Each part comes with its type, and is taken for nothing else."""
        for path, kind in (
            ("/stats/style.css", "text/css; charset=utf-8"),
            ("/stats/app/main.js", "text/javascript; charset=utf-8"),
            ("/stats/vendor/uPlot.min.js", "text/javascript; charset=utf-8"),
            ("/stats/vendor/uPlot.LICENSE", "text/plain; charset=utf-8"),
        ):
            heard = self.ask(path)
            self.assertEqual((heard.status, heard.headers["content-type"]), (200, kind), path)
            self.assertEqual(heard.headers["x-content-type-options"], "nosniff")
            self.assertIn("default-src 'none'", heard.headers["content-security-policy"])

    def test_others(self) -> None:
        """What is no part is a 404, however it is written."""
        for path in (
            "/stats/nope.js",
            "/stats/../stats.py",
            "/stats/%2e%2e/stats.py",
            "/stats/app/",
            "/stats/stats.html",
        ):
            self.assertEqual(self.ask(path).status, 404, path)

    def test_again(self) -> None:
        """A browser that has a part is told so, and asks each time: a newer sidecar's page has newer parts."""
        heard = self.ask("/stats/style.css")
        self.assertEqual(heard.headers["cache-control"], "no-cache")
        again = self.ask("/stats/style.css", If_None_Match=f'"other", {heard.headers["etag"]}')
        self.assertEqual((again.status, again.body), (304, b""))
        self.assertEqual(self.ask("/stats/style.css", If_None_Match='"other"').status, 200)

    def test_every_import_is_there(self) -> None:
        """A script imports parts that there are, each named only once."""
        for path, asset in self.assets.items():
            if not path.endswith(b".js") or path.startswith(b"vendor/"):
                continue
            for name in re.findall(r'from "([^"]*)"', asset.body.decode()):
                folder = path.rpartition(b"/")[0].decode()
                meant = name[2:] if name.startswith("./") else name[3:]
                whole = f"{folder}/{meant}" if name.startswith("./") else meant
                self.assertIn(whole.encode(), self.assets, path)

    def test_text_alone(self) -> None:
        """Our scripts make text of what comes from outside and never markup, keep nothing in the browser, know no other
        address, and none is longer than 300 lines."""
        for path, asset in self.assets.items():
            if not path.endswith(b".js") or path.startswith(b"vendor/"):
                continue
            text = asset.body.decode()
            self.assertNotRegex(text, r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
            self.assertNotRegex(text, r"localStorage|sessionStorage|indexedDB|document\.cookie|https?://")
            self.assertLessEqual(text.count("\n"), 300, path)
