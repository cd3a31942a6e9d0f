"""``micro dev`` with real apps: found, registered, shown, started again, and gone without a trace."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.dev import proc
from sidecar.test.doubles.programs.daemon import environment, run, script
from sidecar.test.doubles.programs.document import Document
from sidecar.test.doubles.programs.process import Program, checkout, free_port, no_checkout, start

PATIENCE = 60.0
#: An app that takes a while to listen, starts a process of its own, and speaks plain HTTP and go-micro's envelope.
APP = """\
import json, os, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100000)"], start_new_session=True)
class App(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result = {"pid": os.getpid(), "child": child.pid, "version": VERSION}
        body = json.dumps({"id": asked["id"], "result": result, "error": None} if "params" in asked else result)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *args):
        pass
VERSION = 1
server = HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), App)
print("sidecar:", os.environ["MICRO_PROXY_ADDRESS"])
server.serve_forever()
"""


class Dev(SynchronousTestCase):
    timeout = 300

    def setUp(self) -> None:
        self.micro = script("micro")
        if not proc.available():
            self.skipTest("micro dev needs /proc")
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        (self.home / "app.py").write_text(APP)
        self.port = free_port()

    def dev(self, *flags: str, command: Sequence[str] = (sys.executable, "app.py")) -> Program:
        words = ["dev", f"--port={self.port}", "--name=greeter", *flags, "--", *command]
        program = start(
            self.micro, words, lambda program: "starting" in program.output, environment=environment(), home=self.home
        )
        self.addCleanup(program.stop)
        return program

    def soon(self, what: str, done: Callable[[], object], program: Program) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline:
                self.fail(f"{what}: not within {PATIENCE:g} s; it said: {program.output}")
            time.sleep(0.05)

    def gone(self, pid: int, program: Program) -> None:
        self.soon(f"{pid} is gone", lambda: not proc.tree(pid), program)

    def call(self) -> dict[str, int]:
        """:returns: what the app answered, {} where it did not."""
        done = run("micro", ["call", "greeter", "Say.Hello"], {"MICRO_PROXY_ADDRESS": f"127.0.0.1:{self.port}"})
        found: dict[str, int] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def answered(self, program: Program, wanted: Callable[[Mapping[str, int]], bool]) -> dict[str, int]:
        """:returns: the first answer that is as wanted."""
        found: list[dict[str, int]] = []

        def done() -> bool:
            found.append(self.call())
            return bool(found[-1]) and wanted(found[-1])

        self.soon("answered", done, program)
        return found[-1]

    def test_life(self) -> None:
        """The port is found and registered, a call is shown, what dies or changes is started again, and SIGINT leaves
        nothing behind: out of the registry first, the app with what it started, exit code 0."""
        program = self.dev("--watch", "app.py")
        first = self.answered(program, lambda answer: True)
        self.assertIn(f"app | sidecar: http://127.0.0.1:{self.port}", program.output)
        self.soon("the call is shown", lambda: "call | greeter Say.Hello -> greeter-" in program.output, program)
        self.assertRegex(program.output, r"\(127\.0\.0\.1:\d+\) [0-9.]+ ms answered")
        os.kill(first["pid"], signal.SIGKILL)
        second = self.answered(program, lambda answer: answer["pid"] != first["pid"])
        self.assertIn("was ended by SIGKILL; starting it again", program.output)
        (self.home / "app.py").write_text(APP.replace("VERSION = 1", "VERSION = 22"))
        third = self.answered(program, lambda answer: answer["version"] == 22)
        self.assertIn("app.py changed", program.output)
        self.assertNotIn("\x1b", program.output)
        program.process.send_signal(signal.SIGINT)
        self.assertEqual(program.process.wait(PATIENCE), 0, program.output)
        left = program.output.partition("leaving: out of the registry first")[2]
        self.assertIn("Deregistering greeter-", left)
        for answer in (second, third):
            for pid in (answer["pid"], answer["child"]):
                self.gone(pid, program)

    def test_protocol_and_port(self) -> None:
        """With ``--protocol http`` calls are translated; ``--app_port`` is registered, and told to the app."""
        wanted = free_port()
        program = self.dev("--protocol", "http", "--app_port", str(wanted))
        self.answered(program, lambda answer: True)
        self.assertIn(f"the app listens on port {wanted}: registering greeter", program.output)
        # A call that this sidecar makes is shown once, one that comes from elsewhere too.
        found = run("micro", ["nodes", "greeter", "--output=json"], {"MICRO_PROXY_ADDRESS": f"127.0.0.1:{self.port}"})
        (node,) = json.loads(found.stdout)
        headers = {"X-Micro-Method": "Say.Elsewhere", "X-Micro-Service": "greeter", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{node['address']}/", b"{}", headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            self.assertEqual(answer.status, 200)
        self.soon("it is shown", lambda: "Say.Elsewhere" in program.output, program)
        self.assertRegex(
            program.output, r"call \| greeter Say\.Elsewhere -> greeter-\S+ \(127\.0\.0\.1:\d+\) \S+ ms answered"
        )
        self.assertEqual(program.output.count("answered\n"), 2, program.output)

    def test_readme(self) -> None:
        """The README's app in Flask, by the README's own command line, is a service that is called."""
        if find_spec("flask") is None:
            self.skipTest("not installed: flask (pip install '.[dev]')")
        reason = no_checkout()
        if reason is not None:
            self.skipTest(reason)
        readme = Document(checkout() / "README.rst")
        (self.home / "app.py").write_text(readme.program("app.py", "python"))
        (line,) = [words for words in readme.commands() if words[1:2] == ["dev"]]
        flags, command = line[2 : line.index("--")], line[line.index("--") + 1 :]
        self.assertEqual(command[0], "flask")
        ours = str(free_port())
        words = ["dev", f"--port={self.port}", *flags, "--", sys.executable, "-m"]
        words += [word.replace("9090", ours) for word in command]
        ready = "registering foo"
        program = start(
            self.micro, words, lambda program: ready in program.output, environment=environment(), home=self.home
        )
        self.addCleanup(program.stop)
        done = run(
            "micro", ["call", "foo", "Say.Hello", '{"name": "John"}'], {"MICRO_PROXY_ADDRESS": f"127.0.0.1:{self.port}"}
        )
        self.assertEqual(json.loads(done.stdout), {"msg": "Hello John"}, done.stderr)
        program.process.send_signal(signal.SIGINT)
        self.assertEqual(program.process.wait(PATIENCE), 0, program.output)

    def test_app_that_ignores_signals(self) -> None:
        """An app that will not leave is killed by a second Ctrl-C, with all that it started."""
        stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        (self.home / "app.py").write_text(stubborn + APP)
        program = self.dev()
        answer = self.answered(program, lambda answer: True)
        program.process.send_signal(signal.SIGINT)
        self.soon("leaving", lambda: "Deregistering" in program.output, program)
        program.process.send_signal(signal.SIGINT)
        self.assertIn(program.process.wait(PATIENCE), (0, 130))
        for pid in (answer["pid"], answer["child"]):
            self.gone(pid, program)

    def test_app_that_ends(self) -> None:
        """An app that ends at once is started again and again, ever later, and how it ended is said."""
        program = self.dev(command=(sys.executable, "-c", "raise SystemExit(7)"))
        self.soon("twice", lambda: "starting it again in 1 s" in program.output, program)
        self.assertIn("ended with exit code 7; starting it again in 0.5 s", program.output)
        program.process.send_signal(signal.SIGTERM)
        self.assertEqual(program.process.wait(PATIENCE), 0, program.output)

    def test_wrong(self) -> None:
        """What cannot begin is said in words before anything is started: no program, none of that name, a bad flag."""
        for words, code, said in (
            (["dev"], 2, "which app?"),
            (["dev", "--", "no-such-program"], 3, "no-such-program cannot be started: there is no such program"),
            (["dev", "--app_port=70000", "--", "true"], 2, "--app_port=70000"),
            (["dev", "app.py", "--", "true"], 2, "stands before the --"),
            (["dev", "--protocol=soap", "--", "true"], 2, "it is one of jsonrpc, http"),
            (["dev", "--registry=none-such", "--", "true"], 2, "none-such"),
            (["dev", "--nmae=x", "--", "true"], 2, "did you mean --name?"),
        ):
            done = run("micro", words)
            self.assertEqual((done.returncode, done.stdout), (code, b""), words)
            self.assertIn(said, done.stderr.decode())

    def test_colours(self) -> None:
        """On a terminal there are colours, unless NO_COLOR says no."""
        for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            ours, theirs = pty.openpty()
            env = {**os.environ, **environment(), "TERM": "xterm", **more}
            env = {name: value for name, value in env.items() if name != "NO_COLOR" or more}
            words = [self.micro, "dev", f"--port={self.port}", "--", sys.executable, "-c", "print('hello')"]
            with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=self.home) as program:
                os.close(theirs)
                seen = b""
                while b"hello\r\n" not in seen and b"hello\x1b[0m" not in seen:
                    seen += os.read(ours, 65536)
                program.terminate()
                try:
                    while True:
                        seen += os.read(ours, 65536)
                except OSError:
                    pass  # the other end is closed
                self.assertEqual(program.wait(PATIENCE), 0)
            os.close(ours)
            self.assertEqual(b"\x1b[" in seen, coloured, seen)
