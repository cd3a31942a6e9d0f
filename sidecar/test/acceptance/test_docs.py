"""The documentation: it is built without a warning, names all that there is, and its commands do what it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest

from sidecar.cli import table
from sidecar.daemon.cmdline.flags import FLAGS
from sidecar.stats.families import FAMILIES
from sidecar.test.doubles.programs.daemon import environment, run, running_daemon
from sidecar.test.doubles.programs.document import Document, Reader
from sidecar.test.doubles.programs.process import checkout, missing, no_checkout
from sidecar.web.openapi.routes import ROUTES

DOCS = checkout() / "docs"
#: What a page's commands take from the pages before it.
FILES = {
    "sidecar.toml": Document(DOCS / "configuration.rst").program("sidecar.toml", "toml") if DOCS.is_dir() else "",
    "roles.toml": "",
    "tokens.toml": "",
}


class Docs(Reader):
    def setUp(self) -> None:
        reason = no_checkout() or missing("curl", "openssl")
        if reason is not None:
            raise SkipTest(reason)
        self.home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.home)
        self.pages = [Document(path) for path in sorted(DOCS.glob("**/*.rst")) if path.name != "README.rst"]

    def test_site(self) -> None:
        """Sphinx finds nothing wrong, and every flag, route, metric and command stands in a page."""
        if find_spec("sphinx") is None or find_spec("furo") is None:
            raise SkipTest("not installed: sphinx and furo (pip install '.[dev]')")
        site = Path(self.home, "site")
        build = [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "--keep-going",
            "-q",
            "-b",
            "html",
            "-d",
            f"{self.home}/doctrees",
        ]
        done = subprocess.run(
            [*build, str(DOCS), str(site)], capture_output=True, text=True, timeout=300, env=environment()
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        text = " ".join(re.sub(r"<[^>]+>", " ", page.read_text("utf-8")) for page in site.glob("reference/*.html"))
        known = {word for name in re.findall(r"[\w./-]+", text) for word in (name, name.rstrip("."))}
        for name in (
            *(f"--{flag.name}" for flag in FLAGS),
            *(family.name for family in FAMILIES),
            *(route.path.partition("{")[0] for route in ROUTES),
        ):
            self.assertTrue(name in known, f"{name} is in no page")
        for command in table.COMMANDS:
            self.assertTrue(f"micro {command.words}" in text, f"micro {command.words} is in no page")

    def test_pictures(self) -> None:
        """What pages show is there, and says in words what it shows."""
        for page in self.pages:
            for name, options in re.findall(r"^\.\. image:: (\S+)\n((?:   :.*\n)*)", page.text, re.MULTILINE):
                self.assertTrue((page.path.parent / name).is_file(), name)
                self.assertIn(":alt: ", options)

    def test_transcripts(self) -> None:
        """Each command of the pages prints what they show, with the app of the quick start."""
        if find_spec("flask") is None:
            raise SkipTest("not installed: flask (pip install '.[dev]')")
        source = Document(DOCS / "quickstart.rst").program("app.py", "python")
        app = self.run_app("app.py", source, sys.executable, "-m", "flask", "--app", "app", "run", "--port", "9090")
        for name, content in FILES.items():
            Path(self.home, name).write_text(content)
        flags = ["--server_name=foo", f"--server_address=127.0.0.1:{app}", "--server_protocol=http"]
        found = [page for page in self.pages if page.transcripts()]
        self.assertGreater(len(found), 5)
        with running_daemon([*flags, "--enable_stats"]) as daemon:
            first = [page for page in found if page.path.name == "quickstart.rst"]
            for page in first + [page for page in found if page not in first]:
                self.assert_prints_what_it_shows(page, daemon.port)

    def test_command_lines(self) -> None:
        """Each line that starts a sidecar has flags that there are, with fit values; tokens are made as shown."""
        for name, content in FILES.items():
            Path(self.home, name).write_text(content)
        make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem"
        self.assertEqual(self.sh(make, 0).returncode, 0)
        seen = 0
        for page in (*self.pages, Document(checkout() / "README.rst")):
            for words in page.commands():
                if "sidecar" in words or words[0] == "microsidecar":
                    flags = [self.here(word) for word in words[1:] if word != "sidecar"]
                    done = run("micro", ["check-config", *flags], cwd=self.home)
                elif words[1] == "token":
                    done = run("micro", words[1:], cwd=self.home)
                else:
                    continue
                seen += 1
                self.assertEqual(done.returncode, 0, f"{page.path.name}: {words}\n{done.stdout!r}{done.stderr!r}")
        self.assertGreater(seen, 10)

    def here(self, word: str) -> str:
        """A flag whose file is one that we have."""
        return re.sub(r"/path/to/(cert|key)", r"\1.pem", word)
