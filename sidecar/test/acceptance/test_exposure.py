"""A sidecar that would serve the network does so only when it is meant."""

from __future__ import annotations

import subprocess

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs.daemon import environment, running_daemon, script


class ExposureTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """Every interface is refused with exit code 2 and one line, by the flag, the endpoint and the variable."""
        for flags, extra in ((["--address=:0"], {}), (["--port=tcp:0"], {}), ([], {"MICRO_SIDECAR_ADDRESS": ":0"})):
            ran = subprocess.run(
                [script("microsidecar"), *flags], env=environment(extra), capture_output=True, text=True, timeout=60
            )
            self.assertEqual((ran.returncode, ran.stdout), (2, ""), ran.stderr)
            self.assertEqual(ran.stderr.count("\n"), 1)
            for way in ("--auth_tokens", "--tls_client_ca_file", "--insecure_listen"):
                self.assertIn(way, ran.stderr)

    def test_meant(self) -> None:
        """With the flag it runs, and warns."""
        with running_daemon(["--address=0.0.0.0:0", "--insecure_listen"]) as daemon:
            self.assertEqual(daemon.request("GET", "/health").status, 200)
            self.assertIn("--insecure_listen", daemon.output)
