"""Calls between two sidecars by TLS, as processes: an app behind one, whoever calls it behind the other."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.certificates import Authority, authority
from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.programs.daemon import Answer, Daemon, running_daemon

#: Seconds that anything may take on a machine that is busy with something else.
PATIENCE = 60.0


def hello(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """The app."""
    return 200, json.dumps({"path": path, "name": json.loads(body).get("name")}).encode()


class NodeTls(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App.listen(socket.socket(), hello)
        self.addCleanup(self.app.close)
        self.home = self.new_home()
        self.signer = authority(self.home)

    def new_home(self) -> Path:
        home = Path(self.mktemp())
        home.mkdir()
        return home.absolute()

    def daemon(self, *flags: str) -> Daemon:
        daemon = running_daemon(flags)
        self.addCleanup(daemon.stop)
        return daemon

    def served(self, signer: Authority, *flags: str) -> Daemon:
        chain, key = signer.issue("server")
        return self.daemon(
            *("--server_name=foo", f"--server_address=127.0.0.1:{self.app.port}", "--server_protocol=http"),
            *(f"--server_tls_cert_file={chain}", f"--server_tls_key_file={key}", *flags),
        )

    def node(self, daemon: Daemon) -> dict[str, object]:
        """What is registered for the app."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = daemon.request("GET", "/registry?service=foo")
            if answer.status == 200:
                (node,) = answer.json["nodes"]
                return {**node}
            time.sleep(0.05)
        raise AssertionError("the app is not registered")

    def call(self, daemon: Daemon, **more: str) -> Answer:
        body = {"service": "foo", "method": "Say.Hello", "request": {"name": "John"}, **more}
        return daemon.request("POST", "/rpc?explain=1", json.dumps(body), {"Content-Type": "application/json"})

    def know(self, daemon: Daemon, node: Mapping[str, object], **metadata: str) -> None:
        body = {"name": "foo", "nodes": [{**node, "metadata": metadata}]}
        self.assertEqual(daemon.request("POST", "/registry", json.dumps(body)).status, 200)

    def test_two_sidecars(self) -> None:
        """The app is registered with ``secure=true``, and called by TLS in every dialect that its port speaks."""
        caller = self.daemon(f"--rpc_tls_ca_file={self.signer.ca_file}")
        node = self.node(self.served(self.signer))
        said = node["metadata"]
        assert isinstance(said, dict)
        self.assertEqual(said["secure"], "true")
        for metadata in (said, {"protocol": "grpc", "tls": "true"}):
            self.know(caller, node, **metadata)
            answer = self.call(caller)
            self.assertEqual((answer.status, answer.json["name"]), (200, "John"), (metadata, answer.body))

    def test_address(self) -> None:
        """A node whose address begins with ``https://`` is called by TLS."""
        caller = self.daemon(f"--rpc_tls_ca_file={self.signer.ca_file}")
        node = self.node(self.served(self.signer))
        self.know(caller, {**node, "address": f"https://{node['address']}"})
        self.assertEqual(self.call(caller).json["name"], "John")

    def test_words(self) -> None:
        """Whoever calls is told what is wrong with the certificate, in the answer, the receipt and ``/explain``."""
        caller = self.daemon()
        node = self.node(self.served(self.signer))
        self.know(caller, node, secure="true")
        answer = self.call(caller)
        self.assertEqual(answer.status, 502)
        explained = caller.request("GET", "/explain?service=foo").json
        for told in (answer.json["detail"], answer.headers["micro-receipt"], explained["nodes"][0]["last"]["detail"]):
            self.assertIn("CN=Test authority", told)

    def test_client_certificate(self) -> None:
        """The port can ask for certificates; a sidecar shows its own."""
        chain, key = self.signer.issue("client")
        node = self.node(self.served(self.signer, f"--server_tls_client_ca_file={self.signer.ca_file}"))
        trust = f"--rpc_tls_ca_file={self.signer.ca_file}"
        shown = self.daemon(trust, f"--rpc_tls_cert_file={chain}", f"--rpc_tls_key_file={key}")
        self.know(shown, node, secure="true")
        self.assertEqual(self.call(shown).status, 200)
        bare = self.daemon(trust)
        self.know(bare, node, secure="true")
        self.assertEqual(self.call(bare).status, 502)

    def test_rotation(self) -> None:
        """New certificates, and new authorities, are used after a reload, without a connection being dropped."""
        other = authority(self.new_home())
        trusted = self.home / "trusted.pem"
        shutil.copy(self.signer.ca_file, trusted)
        caller = self.daemon(f"--rpc_tls_ca_file={trusted}")
        served = self.served(self.signer)
        node = self.node(served)
        self.know(caller, node, secure="true")
        self.assertEqual(self.call(caller).status, 200)
        for made, used in zip(other.issue("server"), self.signer.issue("server"), strict=True):
            shutil.copy(made, used)
        self.reload(served)
        self.assertEqual(self.call(caller).status, 200, "the connection that was there goes on")
        newcomer = self.daemon(f"--rpc_tls_ca_file={trusted}")
        self.know(newcomer, node, secure="true")
        self.assertEqual(self.call(newcomer).status, 502)
        shutil.copy(other.ca_file, trusted)
        self.reload(newcomer)
        # What failed so lately may be left alone for a moment.
        end = time.monotonic() + PATIENCE
        while self.call(newcomer).status != 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)

    def reload(self, daemon: Daemon) -> None:
        """Have it read its files again."""
        told = daemon.output.count("Reloaded")
        daemon.signal(signal.SIGHUP)
        end = time.monotonic() + PATIENCE
        while daemon.output.count("Reloaded") == told:
            self.assertLess(time.monotonic(), end, daemon.output)
            time.sleep(0.05)

    def test_bad_files(self) -> None:
        """A file that is no good ends the start with a sentence that names its flag."""
        for flags in (
            ("--rpc_tls_ca_file=/nowhere",),
            ("--rpc_tls_cert_file=/nowhere", "--rpc_tls_key_file=/nowhere"),
        ):
            error = self.assertRaises(RuntimeError, self.daemon, *flags)
            self.assertIn(f"{flags[0].partition('=')[0]}=/nowhere", str(error))
