"""A document whose commands are run as they stand: what it shows is what one gets."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs.daemon import environment
from sidecar.test.doubles.programs.process import accepts, free_port

_BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n((?:   +:.*\n)*)\n((?:    .*\n|\n)+)", re.MULTILINE)
_LITERAL = re.compile(r"::\n\n((?:    .*\n|\n)+)")
_TRANSCRIPT = re.compile(r"^\$ ", re.MULTILINE)


@frozen
class Document:
    """A page in reStructuredText."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    def blocks(self, kind: str) -> list[tuple[str, str]]:
        """The code blocks of one kind: options and text, indentation removed."""
        return [(options, _dedented(text)) for found, options, text in _BLOCK.findall(self.text) if found == kind]

    def program(self, name: str, language: str) -> str:
        """The text of the program of that name."""
        (found,) = [text for options, text in self.blocks(language) if f":name: {name}\n" in options]
        return found

    def transcripts(self) -> list[tuple[str, str]]:
        """Each ``$ command`` of the console blocks, with the output that follows it."""
        found: list[tuple[str, str]] = []
        for _, text in self.blocks("console"):
            for part in _TRANSCRIPT.split(text)[1:]:
                command, _, shown = part.partition("\n")
                found.append((command, shown.strip("\n")))
        return found

    def commands(self) -> list[list[str]]:
        """The words of each line of ours (``micro``, ``microsidecar``) that is shown without what it prints."""
        texts = [_dedented(text) for text in _LITERAL.findall(self.text)] + [text for _, text in self.blocks("shell")]
        lines = [line for text in texts for line in text.replace("\\\n", " ").splitlines()]
        words = [shlex.split(line, comments=True) for line in lines if re.match(r"micro(sidecar)? ", line)]
        return [[word for word in line if word != "&"] for line in words]


class Reader(SynchronousTestCase):
    """A test that does what a document says, in a directory of its own."""

    home: str

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
        """Run a command as a reader would who has activated the environment, and sees what a terminal shows.

        :param port: where the sidecar is."""
        env = environment({"MICRO_PROXY_ADDRESS": f"127.0.0.1:{port}"})
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return subprocess.run(
            ["bash", "-c", command.replace(":8081", f":{port}")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            env={**os.environ, **env},
            cwd=self.home,
        )

    def assert_prints_what_it_shows(self, document: Document, port: int) -> None:
        """Each command, in the order of the text."""
        for command, shown in document.transcripts():
            done = self.sh(command, port)
            if "sleep " in command and not matches(shown, done.stdout):
                # A reader who is not there yet: the machine is busy.
                done = self.sh(re.sub(r"sleep (\d)", r"sleep 1\1", command), port)
            wrong = f"{document.path.name}: {command}\nprinted: {done.stdout}\nnot: {shown}"
            self.assertTrue(matches(shown, done.stdout), wrong)


def matches(shown: str, printed: str) -> bool:
    """Whether ``printed`` is what was ``shown``, where ``...`` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in shown.split("..."))
    return re.fullmatch(pattern, printed.strip("\n"), re.DOTALL) is not None


def _dedented(text: str) -> str:
    return "\n".join(line[4:] for line in text.rstrip("\n").split("\n"))
