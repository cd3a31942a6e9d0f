"""A machine of its own under a booted systemd: systemd-nspawn over an overlay of this one's root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType

from attrs import define, field

import sidecar

#: What is run in the machine, once it has booted: a script, whose output and exit code are kept.
_UNIT = """
[Unit]
DefaultDependencies=no
After=basic.target
[Service]
Type=oneshot
TimeoutStartSec={seconds}
ExecStart=/bin/bash -c 'bash /share/script >/share/output 2>&1 </dev/null; echo $? >/share/code'
ExecStopPost=/bin/systemctl poweroff --force --no-block
"""
#: Units that wait for a network that never comes.
_MASKED = ("systemd-networkd-wait-online.service", "NetworkManager-wait-online.service", "networking.service")
_TARGET = """
[Unit]
Requires=basic.target script.service
After=basic.target
AllowIsolate=yes
"""


def unavailable() -> str | None:
    """Why no machine can be booted here, for a test's ``skip``; None where one can."""
    if os.geteuid() != 0:
        return "a booted systemd needs root"
    for program, package in (("systemd-nspawn", "systemd-container"), ("mount", "mount")):
        if shutil.which(program) is None:
            return f"not installed: {program} ({package})"
    if not Path("/usr/lib/systemd/systemd").exists():
        return "not installed: systemd"
    with Machine() as probe:
        try:
            code, output = probe.run("exit 0", seconds=60)
        except (OSError, subprocess.SubprocessError) as error:
            return f"no machine boots here: {error}"
    return None if code == 0 else f"no machine boots here: {output[-200:]}"


@define(eq=False)
class Machine:
    """An overlay of this machine's root in which scripts are run, each in a boot of its own.

    What a script changes stays for the next one, and is gone with the machine. It has no network but its loopback.
    The interpreter and its packages are there, read-only: see :func:`python`.
    """

    home: Path = field(factory=lambda: Path(mkdtemp(prefix="machine-", dir="/var/tmp")))
    _mounted: bool = False

    def __enter__(self) -> Machine:
        for name in ("upper", "work", "root", "share"):
            (self.home / name).mkdir()
        options = f"lowerdir=/,upperdir={self.home / 'upper'},workdir={self.home / 'work'}"
        mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)])
        self._mounted = mounted.returncode == 0
        if self._mounted:
            # Not "uninitialized": a first boot would enable every unit that there is.
            self.write("etc/machine-id", f"{uuid.uuid4().hex}\n")
            self.write("etc/systemd/system/script.target", _TARGET)
            for unit in _MASKED:
                (self.root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mounted:
            subprocess.run(["umount", str(self.root)], check=True)
        shutil.rmtree(self.home)

    @property
    def root(self) -> Path:
        return self.home / "root"

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file into the machine. :param path: below its root."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def run(self, script: str, seconds: int = 120) -> tuple[int, str]:
        """Boot, run ``script`` with bash, and power off.

        :returns: its exit code and output. :raises OSError: the machine did not boot.
        """
        if not self._mounted:
            raise OSError("an overlay of / cannot be mounted here")
        share = self.home / "share"
        (share / "script").write_text(script)
        (share / "code").unlink(missing_ok=True)
        self.write("etc/systemd/system/script.service", _UNIT.format(seconds=seconds))
        command = [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            f"--directory={self.root}",
            f"--machine=micro-{uuid.uuid4().hex[:8]}",
            "--private-network",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            f"--bind={share}:/share",
            *(f"--bind-ro={place}:{path}" for place, path in _mapped().items()),
            "systemd.unit=script.target",
        ]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds + 30)
        try:
            return int((share / "code").read_text()), (share / "output").read_text()
        except FileNotFoundError:
            raise OSError("systemd did not come up in the machine") from None


def _mapped() -> dict[Path, str]:
    """Where the interpreter and its packages are in the machine: hardened services see neither /tmp nor homes."""
    places = [Path(sys.base_prefix), Path(sidecar.__file__).parent.parent]
    places += [Path(path) for path in sys.path if path.endswith("site-packages")]
    return {place: f"/srv/place-{number}" for number, place in enumerate(dict.fromkeys(places))}


def python() -> str:
    """:returns: a shell command that runs this interpreter in the machine, with every package that it has here."""
    places = _mapped()
    home = places[Path(sys.base_prefix)]
    program = f"{home}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    paths = ":".join(path for place, path in places.items() if place != Path(sys.base_prefix))
    # A Python that was built with a shared library looks for it where it was built, which is not to be seen here.
    return f"LD_LIBRARY_PATH={home}/lib PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={paths} {program}"
