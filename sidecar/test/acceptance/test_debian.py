"""The Debian package: built with Debian's tools, installed on a machine under systemd, running, and purged clean."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs import machine
from sidecar.test.doubles.programs.process import checkout

#: What builds the package, each with the package that brings it.
_TOOLS = {"dpkg-buildpackage": "dpkg-dev", "dh": "debhelper", "fakeroot": "fakeroot"}


class Package(SynchronousTestCase):
    timeout = 600

    def setUp(self) -> None:
        build = checkout() / "packaging" / "build-deb"
        if not build.exists():
            self.skipTest("the package is built from a checkout, which is not here")
        for tool, package in _TOOLS.items():
            if shutil.which(tool) is None:
                self.skipTest(f"not installed: {tool} ({package})")
        if os.environ.get("CI") != "true" and "MICROSIDECAR_BUILD_DEB" not in os.environ:
            self.skipTest("building needs the package index and a minute: set MICROSIDECAR_BUILD_DEB=1")
        reason = machine.unavailable()
        if reason is not None:
            self.skipTest(reason)
        self.build = build

    def test_install_run_purge(self) -> None:
        """The package installs, its unit runs and answers, its man pages are found, and a purge leaves nothing."""
        out = Path(self.mktemp())
        built = subprocess.run([str(self.build), str(out)], capture_output=True, text=True)
        self.assertEqual(built.returncode, 0, built.stdout + built.stderr)
        (package,) = out.glob("microsidecar_*.deb")
        with machine.Machine() as there:
            shutil.copy(package, there.root / "opt" / "microsidecar.deb")
            code, output = there.run(
                """
                set -eux
                ip link set lo up
                rm -f /usr/sbin/policy-rc.d
                find / -xdev -name '*microsidecar*' -not -path '/proc/*' -not -path '/srv/*' \
                    -not -path '/var/tmp/machine-*' | sort >/before
                dpkg -i /opt/microsidecar.deb
                for i in $(seq 40); do systemctl is-active microsidecar && break; sleep 0.5; done
                curl -sf -m 10 http://127.0.0.1:8081/health
                microsidecar --version
                /opt/microsidecar/bin/micro list services
                test -f /usr/share/man/man8/microsidecar.8.gz
                test -f /opt/microsidecar/share/man/man1/micro.1
                bash -euc '. /usr/share/bash-completion/completions/microsidecar; complete -p microsidecar'
                test ! -e /usr/bin/micro -o "$(dpkg -S /usr/bin/micro 2>/dev/null)" != "microsidecar: /usr/bin/micro"
                systemctl show -p User -p ActiveState microsidecar
                dpkg --purge microsidecar
                systemctl is-active microsidecar && exit 1
                find / -xdev -name '*microsidecar*' -not -path '/proc/*' -not -path '/srv/*' \
                    -not -path '/var/tmp/machine-*' -not -path '/var/log/*' -not -path '/sys/*' -not -path '/run/*' |\
                    sort >/after
                echo "left: $(comm -13 /before /after | xargs)."
                """,
                seconds=240,
            )
        self.assertEqual(code, 0, output)
        self.assertIn("left: .", output)
