"""The shipped units under a booted systemd: start, activation, reload, watchdog, drain, upgrade."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs import machine
from sidecar.test.doubles.programs.process import checkout

#: Made once: whether a machine boots here.
_UNAVAILABLE: list[str | None] = []

#: An app that answers its health check, and a call as slowly as it says.
_APP = """
import json, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(call["params"][0].get("seconds", 0))
        body = json.dumps({"id": call["id"], "result": {"ok": True}, "error": None}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
ThreadingHTTPServer(("127.0.0.1", 9090), App).serve_forever()
"""
_CALL = "curl -s -m 20 -d service=foo -d method=A.B -d 'request={\"seconds\":%s}' http://127.0.0.1:8081/rpc"


class Units(SynchronousTestCase):
    timeout = 300

    def setUp(self) -> None:
        if not _UNAVAILABLE:
            _UNAVAILABLE.append(machine.unavailable())
        if _UNAVAILABLE[0] is not None:
            self.skipTest(_UNAVAILABLE[0])
        self.units = checkout() / "packaging" / "systemd"
        if not self.units.exists():
            self.skipTest("the units are in the checkout, which is not here")
        self.machine = machine.Machine()
        self.machine.__enter__()
        self.addCleanup(self.machine.__exit__, None, None, None)
        for unit in (*self.units.glob("*.service"), *self.units.glob("*.socket")):
            self.machine.write(f"etc/systemd/system/{unit.name}", unit.read_text())
        self.machine.write("opt/app.py", _APP)
        start = "from sidecar.cli.main import microsidecar as start; start()"
        program = f'#!/bin/sh\nexec env {machine.python()} -c "{start}" "$@"\n'
        self.machine.write("usr/bin/microsidecar", program, 0o755)

    def run_in_machine(self, text: str, environment: str = "") -> str:
        """Run a script that stops at its first failing command. :returns: its output."""
        self.machine.write("etc/microsidecar/environment", environment)
        code, output = self.machine.run(
            f"set -eux\ncd /\ntrap 'journalctl -u microsidecar --no-pager | tail -30' ERR\nip link set lo up\n{text}"
        )
        self.assertEqual(code, 0, output)
        return output

    def test_start_and_drain(self) -> None:
        """The unit starts, reloads in the same process, and drains a call under way when it is stopped; it exits 0."""
        output = self.run_in_machine(
            f"""
            /usr/bin/python3 /opt/app.py & sleep 1
            systemctl start microsidecar
            systemctl show -p StatusText -p ActiveState -p MainPID microsidecar | tee /before
            grep ActiveState=active /before
            {_CALL % 0} | grep '"ok": *true'
            systemctl reload microsidecar
            systemctl show -p ActiveState -p MainPID -p StatusText microsidecar | tee /after
            diff <(grep -v StatusText /before) <(grep -v StatusText /after)
            test -d /var/lib/private/microsidecar || test -d /var/lib/microsidecar
            ({_CALL % 2} >/answer) & sleep 0.5
            systemctl stop microsidecar
            wait %2
            echo "answer: $(cat /answer)"
            systemctl show -p Result -p ExecMainStatus microsidecar
            """,
            "MICRO_SERVER_NAME=foo\nMICRO_SERVER_ADDRESS=127.0.0.1:9090\n",
        )
        self.assertRegex(output, r'answer: \{"ok": ?true\}')
        self.assertIn("StatusText=Listening on http://127.0.0.1:8081; registry memory; broker memory; app foo", output)
        self.assertIn("StatusText=Reloaded", output)
        self.assertIn("Result=success", output)
        self.assertIn("ExecMainStatus=0", output)

    def test_socket_activation_and_upgrade(self) -> None:
        """The port opens with the socket unit, the first caller starts the daemon, and restarts refuse nobody."""
        output = self.run_in_machine(
            """
            systemctl start microsidecar.socket
            systemctl is-active microsidecar && exit 1
            curl -sf -m 30 http://127.0.0.1:8081/health
            systemctl is-active microsidecar
            : >/codes
            (for i in $(seq 60); do curl -s -m 30 -o /dev/null -w '%{http_code}\\n' http://127.0.0.1:8081/registry \
                >>/codes || echo failed >>/codes; sleep 0.05; done) & load=$!
            sleep 0.5; systemctl restart microsidecar; sleep 0.5; systemctl restart microsidecar
            wait $load
            echo "codes: $(sort /codes | uniq -c | xargs)"
            """
        )
        self.assertIn("codes: 60 200", output)

    def test_watchdog(self) -> None:
        """A daemon that stands still is ended by the watchdog and started anew."""
        output = self.run_in_machine(
            """
            mkdir -p /etc/systemd/system/microsidecar.service.d
            printf '[Service]\\nWatchdogSec=2\\nTimeoutAbortSec=1\\n' >quick.conf
            mv quick.conf /etc/systemd/system/microsidecar.service.d/
            systemctl daemon-reload
            systemctl start microsidecar
            sleep 3; test "$(systemctl show -p NRestarts --value microsidecar)" = 0
            kill -STOP $(systemctl show -p MainPID --value microsidecar)
            for i in $(seq 40); do
                [ "$(systemctl show -p NRestarts --value microsidecar)" = 0 ] || break; sleep 0.5
            done
            for i in $(seq 20); do systemctl is-active microsidecar && break; sleep 0.5; done
            curl -sf -m 10 http://127.0.0.1:8081/registry
            echo "restarts: $(systemctl show -p NRestarts --value microsidecar)"
            """
        )
        self.assertIn("restarts: 1", output)

    def test_a_wrong_flag_is_not_tried_again(self) -> None:
        """A flag that cannot be (exit code 2) leaves the unit failed, at once."""
        output = self.run_in_machine(
            """
            systemctl start microsidecar || true
            sleep 2
            systemctl show -p ActiveState -p NRestarts -p ExecMainStatus microsidecar
            """,
            "MICRO_CLIENT_RETRIES=many\n",
        )
        self.assertIn("ActiveState=failed", output)
        self.assertIn("NRestarts=0", output)
        self.assertIn("ExecMainStatus=2", output)


class Hardening(SynchronousTestCase):
    def test_exposure(self) -> None:
        """systemd's own analysis gives the units 1.8 or better."""
        if shutil.which("systemd-analyze") is None:
            self.skipTest("not installed: systemd-analyze (systemd)")
        units = checkout() / "packaging" / "systemd"
        if not units.exists():
            self.skipTest("the units are in the checkout, which is not here")
        for name in ("microsidecar.service", "microsidecar@.service"):
            environment = {**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
            command = ["systemd-analyze", "security", "--offline=true", str(Path(units, name))]
            told = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
            found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
            assert found is not None, told
            self.assertLessEqual(float(found[1]), 1.8)
