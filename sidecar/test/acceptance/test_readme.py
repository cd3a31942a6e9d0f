"""The README's own commands, run against a live daemon: what it shows is what one gets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sidecar.test.doubles.programs.daemon import environment, running_daemon
from sidecar.test.doubles.programs.process import accepts, checkout, free_port, missing, no_checkout

README = checkout() / "README.rst"

_BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n((?:   +:.*\n)*)\n((?:    .*\n|\n)+)", re.MULTILINE)


def blocks(kind: str) -> list[tuple[str, str]]:
    """The code blocks of one kind: options and text, indentation removed."""
    return [
        (options, "\n".join(line[4:] for line in text.rstrip("\n").split("\n")))
        for found, options, text in _BLOCK.findall(README.read_text("utf-8"))
        if found == kind
    ]


def transcripts() -> list[tuple[str, str]]:
    """Each ``$ command`` of the console blocks, with the output that follows it."""
    found: list[tuple[str, str]] = []
    for _, text in blocks("console"):
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown.strip("\n")))
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether ``printed`` is what was ``shown``, where ``...`` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in shown.split("..."))
    return re.fullmatch(pattern, printed.strip("\n"), re.DOTALL) is not None


class Readme(SynchronousTestCase):
    """Everything runs in the order of the text, as a reader would."""

    def setUp(self) -> None:
        reason = no_checkout() or missing("curl")
        if reason is not None:
            raise SkipTest(reason)
        self.home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.home)

    def source(self, name: str, language: str, lines: int) -> str:
        """A program of the README, which says how many lines it takes."""
        (found,) = [text for options, text in blocks(language) if f":name: {name}\n" in options]
        self.assertLessEqual(len([line for line in found.splitlines() if line.strip()]), lines)
        return found

    def run_app(self, name: str, source: str, *command: str) -> int:
        """Save a program and start it, on a port of its own, which is in the place of 9090. :returns: the port."""
        port = free_port()
        Path(self.home, name).write_text(source.replace("9090", str(port)))
        words = [word.replace("9090", str(port)) for word in command]
        log = Path(self.home, "log")
        with log.open("wb") as output:
            app = subprocess.Popen(words, cwd=self.home, stdout=output, stderr=output)
        self.addCleanup(app.wait)
        self.addCleanup(app.terminate)
        while not accepts(port):
            self.assertIsNone(app.poll(), log.read_text)
            time.sleep(0.05)
        return port

    def sh(self, command: str, port: int) -> subprocess.CompletedProcess[str]:
        """Run a command as a reader would who has activated the environment; the sidecar is at ``port``."""
        env = environment({"MICRO_PROXY_ADDRESS": f"127.0.0.1:{port}"})
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return subprocess.run(
            ["bash", "-c", command.replace(":8081", f":{port}")],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **env},
            cwd=self.home,
        )

    def assert_hello(self, port: int, msg: str = "Hello John") -> None:
        """The README's own call of Say.Hello is answered."""
        (call,) = [command for command, _ in transcripts() if command.endswith("/rpc") and '"John"' in command]
        self.assertEqual(json.loads(self.sh(call, port).stdout), {"msg": msg})

    def test_transcripts(self) -> None:
        """Each command of the README prints what the README shows, with the app of five lines in Flask."""
        if find_spec("flask") is None:
            raise SkipTest("not installed: flask (pip install '.[dev]')")
        source = self.source("app.py", "python", 5)
        flask = [sys.executable, "-m", "flask", "--app", "app", "run", "--port", "9090"]
        self.assertIn(" ".join(flask[2:]), README.read_text("utf-8").replace("``", ""))
        app = self.run_app("app.py", source, *flask)
        flags = ["--enable_stats", "--server_name=foo", f"--server_address=127.0.0.1:{app}", "--server_protocol=http"]
        with running_daemon(flags) as daemon:
            self.assertGreater(len(transcripts()), 10)
            for command, shown in transcripts():
                done = self.sh(command, daemon.port)
                self.assertTrue(
                    matches(shown, done.stdout), f"{command}\nprinted: {done.stdout}{done.stderr}\nnot: {shown}"
                )

    def test_express(self) -> None:
        """The app of five lines in Express."""
        reason = missing("node", "npm")
        if reason is not None:
            raise SkipTest(reason)
        source = self.source("app.js", "javascript", 5)
        install = ["npm", "install", "--no-fund", "--no-audit", "--loglevel=error", "express"]
        if subprocess.run(install, cwd=self.home, capture_output=True, timeout=120).returncode:
            raise SkipTest("not installed: express (npm install express)")
        app = self.run_app("app.js", source, "node", "app.js")
        flags = ["--server_name=foo", f"--server_address=127.0.0.1:{app}", "--server_protocol=http"]
        with running_daemon(flags) as daemon:
            self.assert_hello(daemon.port)

    def test_envelope(self) -> None:
        """The app that speaks go-micro's envelope."""
        app = self.run_app("envelope.py", self.source("envelope.py", "python", 15), sys.executable, "envelope.py")
        flags = [
            "--server_name=foo",
            f"--server_address=127.0.0.1:{app}",
            f"--healthcheck_url=http://127.0.0.1:{app}/_status/health",
        ]
        with running_daemon(flags) as daemon:
            while daemon.request("GET", "/registry?service=foo").status == 404:
                time.sleep(0.05)
            self.assert_hello(daemon.port)
            self.assertRegex(daemon.output, "Registering foo-")
            self.assertIn("Starting sidecar healthchecker", daemon.output)

    def test_flask_and_express_read_the_envelope(self) -> None:
        """What the README says of JSON of any type holds of Flask."""
        if find_spec("flask") is None:
            raise SkipTest("not installed: flask (pip install '.[dev]')")
        self.assertIn("request.get_json(force=True)", README.read_text("utf-8"))
        source = (
            "from flask import Flask, request\napp = Flask(__name__)\n"
            "@app.post('/')\ndef answer():\n    call = request.get_json(force=True)\n"
            "    return {'id': call['id'], 'result': {'msg': call['params'][0]['name']}, 'error': None}\n"
        )
        flask = [sys.executable, "-m", "flask", "--app", "app", "run", "--port", "9090"]
        app = self.run_app("app.py", source, *flask)
        with running_daemon(["--server_name=foo", f"--server_address=127.0.0.1:{app}"]) as daemon:
            self.assert_hello(daemon.port, "John")

    def test_tls(self) -> None:
        """The certificate that the README makes serves, and ``micro`` trusts it."""
        reason = missing("openssl")
        if reason is not None:
            raise SkipTest(reason)
        (lines,) = [text for options, text in blocks("shell") if ":name: tls\n" in options]
        make, serve, ask = lines.splitlines()
        self.assertEqual(self.sh(make, 0).returncode, 0)
        flags = [word.replace("=", f"={self.home}/", 1) if ".pem" in word else word for word in serve.split()[2:]]
        with running_daemon([*flags, "--server_name=foo", "--server_address=127.0.0.1:9"]) as daemon:
            self.assertEqual(self.sh(ask, daemon.port).stdout, "foo\n")
