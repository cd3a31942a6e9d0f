"""The apps in docs/clients, as they stand: registered, called, calling, published, subscribed, and gone at SIGTERM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs import namespace
from sidecar.test.doubles.programs.daemon import environment, running_daemon, script
from sidecar.test.doubles.programs.process import Program, checkout, start

PATIENCE = 60.0
#: No client takes more lines than this.
SHORT = 60


class Clients(SynchronousTestCase):
    timeout = 300

    def setUp(self) -> None:
        self.folder = checkout() / "docs" / "clients"
        if not self.folder.exists():
            self.skipTest("the clients are in the checkout, which is not here")
        reason = namespace.unavailable()
        if reason is not None:
            self.skipTest(reason)

    def network(self, *flags: str) -> None:
        """A network of its own, since the apps have fixed ports, with a sidecar on its own in it."""
        self.namespace = namespace.Namespace.make()
        self.addCleanup(self.namespace.remove)
        daemon = running_daemon(["--port=8081", *flags], prefix=self.namespace.prefix)
        self.addCleanup(daemon.stop)

    def started(self, command: list[str], home: Path, env: dict[str, str] | None = None) -> Program:
        """Start a program in the network, in the folder of the clients."""
        first, *rest = [*self.namespace.prefix, *command]
        program = start(first, rest, lambda _: True, environment=environment(env), home=home)
        self.addCleanup(program.stop)
        return program

    def need(self, *programs: str) -> None:
        for program in programs:
            if shutil.which(program) is None:
                self.skipTest(f"not installed: {program}")

    def build(self, command: list[str], home: Path) -> None:
        """Fetch or build what an app needs, with the ordinary tool of its language."""
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, env={**os.environ, "GOFLAGS": ""})
        if done.returncode:
            self.skipTest(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")

    def home(self) -> Path:
        """A folder with all the clients in it."""
        home = Path(mkdtemp(prefix="clients-"))
        self.addCleanup(shutil.rmtree, home)
        for path in self.folder.iterdir():
            shutil.copy(path, home)
        return home

    def ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        """One request to the sidecar, from within its network."""
        command = [*self.namespace.prefix, "curl", "-s", "-m", "30", "-X", method, "-w", "\n%{http_code}"]
        command += ["-H", "Content-Type: application/json"] + (["--data-binary", body] if body else [])
        done = subprocess.run([*command, f"http://127.0.0.1:8081{path}"], capture_output=True, text=True)
        text, _, status = done.stdout.rpartition("\n")
        return int(status or 0), text

    def soon(self, done: Callable[[], bool], what: str, program: Program) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline or program.process.poll() is not None:
                self.fail(f"{what}: not within {PATIENCE} s; the app said: {program.output[-2000:]}")
            time.sleep(0.1)

    def journey(self, command: list[str], home: Path) -> None:
        """Start the app and see it do everything that the page of clients promises."""
        self.need("curl")
        self.network()
        path = f"{Path(script('micro')).parent}{os.pathsep}{os.environ['PATH']}"
        app = self.started(command, home, {"PATH": path})
        self.soon(lambda: self.ask("GET", "/registry?service=greeter")[0] == 200, "registered", app)
        call = {"service": "greeter", "request": {"name": "John"}}

        def called(method: str) -> bool:
            status, text = self.ask("POST", "/rpc", json.dumps({**call, "method": method}))
            return status == 200 and json.loads(text) == {"msg": "Hello John"}

        self.soon(lambda: called("Say.Hello"), "called", app)
        self.soon(lambda: called("Say.Ask") and "heard: Hello John" in app.output, "calling, published, heard", app)
        app.process.terminate()
        self.assertEqual(app.process.wait(PATIENCE), 143 if "java" in command[0] else 0, app.output)
        self.assertEqual(self.ask("GET", "/registry?service=greeter")[0], 404)

    def need_modules(self, *names: str) -> None:
        import importlib.util

        for name in names:
            if importlib.util.find_spec(name) is None:
                self.skipTest(f"not installed: {name} (PyPI)")

    def test_flask(self) -> None:
        """Python with Flask."""
        self.need_modules("flask", "websockets")
        self.journey([sys.executable, "greeter_flask.py"], self.home())

    def test_asyncio(self) -> None:
        """Python with asyncio."""
        self.need_modules("aiohttp")
        self.journey([sys.executable, "greeter_asyncio.py"], self.home())

    def test_express(self) -> None:
        """JavaScript with Express."""
        self.need("node", "npm")
        home = self.home()
        self.build(["npm", "install", "--no-fund", "--no-audit", "--loglevel=error", "express@5", "ws@8"], home)
        self.journey(["node", "greeter_express.mjs"], home)

    def test_go(self) -> None:
        """Go with net/http."""
        self.need("go")
        home = self.home()
        self.build(["go", "mod", "init", "greeter"], home)
        self.build(["go", "get", "github.com/gorilla/websocket@v1.5.3"], home)
        self.build(["go", "build", "-o", "greeter", "greeter.go"], home)
        self.journey([str(home / "greeter")], home)

    def test_ruby(self) -> None:
        """Ruby with WEBrick."""
        self.need("ruby")
        if subprocess.run(["ruby", "-rwebrick", "-e", ""], capture_output=True).returncode:
            self.skipTest("not installed: webrick (ruby-webrick)")
        self.journey(["ruby", "greeter.rb"], self.home())

    def test_java(self) -> None:
        """Java with nothing but its own library."""
        self.need("java")
        self.journey(["java", "Greeter.java"], self.home())

    def test_shell(self) -> None:
        """A shell with curl, jq and socat."""
        self.need("bash", "curl", "jq", "socat")
        self.journey(["bash", "greeter.sh"], self.home())

    def test_browser(self) -> None:
        """A page in Chromium calls, publishes and hears what was published."""
        self.need("chromium", "chromedriver")
        self.need_modules("selenium", "flask", "websockets")
        home = self.home()
        self.network("--sidecar_cors=http://127.0.0.1:8000")
        for command in ([sys.executable, "greeter_flask.py"], [sys.executable, "-m", "http.server", "8000"]):
            self.started(command, home)
        done = subprocess.run(
            [*self.namespace.prefix, sys.executable, "-c", _BROWSE], capture_output=True, text=True, timeout=120,
            env={**os.environ, "HOME": str(home)},
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(
            set(done.stdout.splitlines()), {"answered: Hello John", "heard: Hello John", "heard: John was greeted"}
        )

    def test_short(self) -> None:
        """Each is under 60 lines, and its first comment names the command line of the sidecar beside it."""
        found = [path for path in self.folder.iterdir() if path.suffix != ".rst"]
        self.assertGreaterEqual(len(found), 8)
        for path in found:
            lines = path.read_text().splitlines()
            self.assertLess(len(lines), SHORT, path.name)
            self.assertIn("micro sidecar", "\n".join(lines[:2]), path.name)


_BROWSE = """
import time
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.chrome.service import Service
options = webdriver.ChromeOptions()
for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
    options.add_argument(flag)
driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
try:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            driver.get("http://127.0.0.1:8000/greeter.html")
            break
        except Exception:
            time.sleep(0.3)
    while driver.title != "Greeter, listening" and time.monotonic() < deadline:
        time.sleep(0.1)
    items = []
    while time.monotonic() < deadline:
        driver.find_element(By.TAG_NAME, "button").click()
        time.sleep(0.7)
        items = {item.text for item in driver.find_elements(By.TAG_NAME, "li") if not item.text.startswith("failed")}
        if len(items) == 3:
            break
    print("\\n".join(items))
finally:
    driver.quit()
"""
