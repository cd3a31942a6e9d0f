"""The container: its steps, run in a root of their own, make what runs as its Containerfile says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs import machine, namespace
from sidecar.test.doubles.programs.process import checkout, default_signals

PATIENCE = 60.0
_DEBIAN = "/usr/bin/python3"


def _in(root: Path, user: str) -> list[str]:
    """:returns: what stands before a command that is to run in ``root`` as ``user``, with devices and processes."""
    chroot = shutil.which("chroot") or "/usr/sbin/chroot"
    script = f'mount --bind /dev "$0/dev" && mount --bind /proc "$0/proc" && exec {chroot} --userspec={user} "$0" "$@"'
    return ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, str(root)]


class Container(SynchronousTestCase):
    timeout = 600

    def setUp(self) -> None:
        self.file = checkout() / "packaging" / "Containerfile"
        if not self.file.exists():
            self.skipTest("the container is made from a checkout, which is not here")
        self.text = self.file.read_text()

    def said(self, word: str) -> str:
        """:returns: what the last instruction of this word says."""
        joined = self.text.replace("\\\n", " ")
        return re.findall(rf"^{word} (.*)$", joined, re.MULTILINE)[-1]

    def test_says(self) -> None:
        """It does not run as root, names its port, has a health check, and stops by the signal that drains."""
        self.assertNotIn(self.said("USER").partition(":")[0], ("", "0", "root"))
        self.assertEqual((self.said("EXPOSE"), self.said("STOPSIGNAL")), ("8081", "SIGTERM"))
        self.assertIn('CMD ["micro", "ready"', self.said("HEALTHCHECK"))
        for path in re.findall(r"^COPY (packaging.*) \S+$", self.text, re.MULTILINE):
            for each in path.split():
                self.assertTrue((checkout() / each).exists(), each)

    def test_steps(self) -> None:
        """What its steps make in a fresh root runs as its user, is healthy by its check, and ends by its signal."""
        if os.environ.get("CI") != "true" and "MICROSIDECAR_BUILD_CONTAINER" not in os.environ:
            self.skipTest("building needs the package index and a minute: set MICROSIDECAR_BUILD_CONTAINER=1")
        reason = namespace.unavailable()
        if reason is not None:
            self.skipTest(reason)
        if subprocess.run([_DEBIAN, "-c", "import venv, ensurepip"], capture_output=True).returncode:
            self.skipTest(f"{_DEBIAN} cannot make environments (python3-venv)")
        with machine.Machine() as there:
            if not os.path.ismount(there.root):
                self.skipTest("an overlay of / cannot be mounted here")
            self.steps(there.root)
            self.journey(there.root)

    def steps(self, root: Path) -> None:
        """Do what COPY and RUN of the last stage say, the wheel built by this interpreter."""
        build = root / "build"
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir()
        source = Path(self.mktemp())
        shutil.copytree(
            checkout(),
            source,
            ignore=shutil.ignore_patterns(
                ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", "_trial_temp*", "bin"
            ),
        )
        wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(build), str(source)]
        done = subprocess.run(wheel, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        for path in self.said("COPY packaging/requirements.lock").split()[:-1]:
            shutil.copy(checkout() / path, build)
        shutil.copy(checkout() / "packaging" / "requirements.lock", build)
        done = self.inside(root, "/bin/sh", "-c", self.said("RUN"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def journey(self, root: Path) -> None:
        network = namespace.Namespace.make()
        self.addCleanup(network.remove)
        user = self.said("USER")
        words = [*network.prefix, *_in(root, user)]
        environ = dict(re.findall(r"^ENV (\w+)=(\S+)$", self.text, re.MULTILINE))
        log = Path(self.mktemp())
        with log.open("wb") as output:
            daemon = subprocess.Popen(
                [*words, *json.loads(self.said("ENTRYPOINT")), "--server_name=foo", "--server_address=127.0.0.1:9"],
                env=environ,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                preexec_fn=default_signals,
            )
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        check = json.loads(self.said("HEALTHCHECK").partition("CMD ")[2])
        deadline = time.monotonic() + PATIENCE
        while subprocess.run([*words, *check], env=environ, capture_output=True).returncode:
            self.assertIsNone(daemon.poll(), log.read_text())
            self.assertLess(time.monotonic(), deadline, log.read_text())
        listed = subprocess.run([*words, "micro", "list", "services"], env=environ, capture_output=True, text=True)
        self.assertEqual(listed.stdout, "foo\n", listed.stderr)
        self.assertEqual(
            re.findall(r"^Uid:\t(\d+)", Path(f"/proc/{daemon.pid}/status").read_text(), re.MULTILINE),
            [user.partition(":")[0]],
        )
        self.assertTrue(list((root / environ["MICRO_DATA_DIR"].lstrip("/")).iterdir()), "it keeps its state there")
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(PATIENCE), 0, log.read_text())

    def inside(self, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a step as the builder would, in the root, with a network."""
        path = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        ours = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "SSL_", "REQUESTS_")) or name.lower().endswith("_proxy")
        }
        return subprocess.run([*_in(root, "0:0"), *words], env={"PATH": path, **ours}, capture_output=True, text=True)
