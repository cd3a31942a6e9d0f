"""The README's own commands, run against a live daemon: what it shows is what one gets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
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

    def run_app(self) -> int:
        """Start the app of fifteen lines, on a port of its own."""
        (source,) = [text for options, text in blocks("python") if "app.py" in options]
        self.assertLessEqual(len([line for line in source.splitlines() if line.strip()]), 15)
        port = free_port()
        path = Path(self.home, "app.py")
        path.write_text(source.replace("9090", str(port)))
        app = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(app.wait)
        self.addCleanup(app.terminate)
        while not accepts(port):
            self.assertIsNone(app.poll(), "the app ended")
        return port

    def test_transcripts(self) -> None:
        """Each command of the README prints what the README shows."""
        port = self.run_app()
        flags = [
            "--enable_stats",
            "--server_name=foo",
            f"--server_address=127.0.0.1:{port}",
            f"--healthcheck_url=http://127.0.0.1:{port}/_status/health",
        ]
        with running_daemon(flags) as daemon:
            scripts = Path(sys.executable).parent
            env = environment({"MICRO_PROXY_ADDRESS": f"127.0.0.1:{daemon.port}"})
            env["PATH"] = f"{scripts}{os.pathsep}{env.get('PATH', os.defpath)}"
            self.assertGreater(len(transcripts()), 10)
            for command, shown in transcripts():
                command = command.replace("127.0.0.1:8081", f"127.0.0.1:{daemon.port}")
                shown = shown.replace("9090", str(port))
                done = subprocess.run(
                    ["bash", "-c", command], capture_output=True, text=True, timeout=60, env=env, cwd=self.home
                )
                self.assertTrue(
                    matches(shown, done.stdout), f"{command}\nprinted: {done.stdout}{done.stderr}\nnot: {shown}"
                )
