"""``micro doctor`` finds planted faults by their names, and nothing where all is well."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli.doctor import network
from sidecar.test.doubles.programs import process
from sidecar.test.doubles.programs.daemon import run, running_daemon
from sidecar.test.doubles.programs.process import free_port


class App(BaseHTTPRequestHandler):
    """A plain HTTP app, or one that answers the envelope."""

    protocol_version = "HTTP/1.1"
    envelope: ClassVar[bool] = False
    ahead: ClassVar[float] = 0.0
    status: ClassVar[int] = 200

    def do_GET(self) -> None:
        self.answer(self.status, b"fine")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.envelope:
            self.answer(200, json.dumps({"id": json.loads(body)["id"], "result": {"status": "ok"}}).encode())
        else:
            self.answer(404, b"no such page")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Date", formatdate(datetime.now(timezone.utc).timestamp() + self.ahead, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def _put(method: str, url: str, body: object) -> None:
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method)
    urllib.request.urlopen(asked, timeout=60).close()


def _put_into_etcd(port: int) -> None:
    key, value = (base64.b64encode(text).decode() for text in (b"/micro/registry/shop/shop-1", b"{}"))
    _put("POST", f"http://127.0.0.1:{port}/v3/kv/put", {"key": key, "value": value})


def _put_into_consul(port: int) -> None:
    _put("PUT", f"http://127.0.0.1:{port}/v1/agent/service/register", {"Name": "shop", "ID": "shop-1"})


class Doctor(SynchronousTestCase):
    def app(self, **manners: Any) -> int:
        """:returns: the port of an app with these manners."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Behaved", (App,), manners))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        port: int = server.server_address[1]
        return port

    def examine(self, *flags: str) -> tuple[int, list[dict[str, str]]]:
        """:returns: the exit code and the diagnoses."""
        done = run("micro", ["doctor", "--output=json", *flags])
        self.assertEqual(done.stderr, b"")
        return done.returncode, json.loads(done.stdout)

    def faults(self, *flags: str) -> dict[str, str]:
        """:returns: what is at fault, by subject, with the fix."""
        code, diagnoses = self.examine(f"--port={free_port()}", *flags)
        found = {one["subject"]: f"{one['told']} {one['fix']}" for one in diagnoses if one["level"] == "fault"}
        self.assertEqual(code, int(bool(found)))
        self.assertTrue(all(one["fix"] for one in diagnoses if one["level"] != "ok"))
        return found

    def test_well(self) -> None:
        """An app that is there and speaks as the flags say: exit code 0."""
        port = self.app(envelope=True)
        flags = (
            "--server_name=foo",
            f"--server_address=127.0.0.1:{port}",
            f"--healthcheck_url=http://127.0.0.1:{port}/",
        )
        self.assertEqual(self.faults(*flags), {})

    def test_engine_gone(self) -> None:
        """An engine that nobody answers for."""
        port = free_port()
        for kind in ("consul", "etcd", "nats"):
            found = self.faults(f"--registry={kind}", f"--registry_address=127.0.0.1:{port}")
            self.assertIn("refused", found[f"registry {kind}"])
            self.assertIn("--registry_address", found[f"registry {kind}"])

    def test_who_else_is_there(self) -> None:
        """What is registered at an engine is named."""
        lacking = [process.missing(kind) for kind in ("etcd", "consul")]
        if all(lacking):
            self.skipTest(f"{lacking[0]}; {lacking[1]}")
        for kind, begin, register in (
            ("etcd", process.start_etcd, _put_into_etcd),
            ("consul", process.start_consul, _put_into_consul),
        ):
            if process.missing(kind) is not None:
                continue
            engine = begin(port := free_port())
            self.addCleanup(engine.stop)
            register(port)
            _, diagnoses = self.examine("--port=0", f"--registry={kind}", f"--registry_address=127.0.0.1:{port}")
            (told,) = [one["told"] for one in diagnoses if one["subject"] == f"registry {kind}"]
            self.assertIn("services there: shop", told)

    def test_something_else_in_its_place(self) -> None:
        """An address where something else answers."""
        found = self.faults("--registry=consul", f"--registry_address=127.0.0.1:{self.app()}")
        self.assertIn("something else", found["registry consul"])

    def test_app_on_another_port(self) -> None:
        """The app listens elsewhere: its real port is named."""
        there = self.app(envelope=True)
        program = (
            "import http.server as h, sys; s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler);"
            "print(s.server_port, flush=True); s.serve_forever()"
        )
        server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        assert server.stdout is not None
        self.addCleanup(server.stdout.close)
        elsewhere = int(server.stdout.readline())
        found = self.faults("--server_name=foo", f"--server_address=127.0.0.1:{free_port()}")
        self.assertIn("refused", found["app foo"])
        if network.listeners():
            self.assertIn(f"127.0.0.1:{elsewhere}", found["app foo"])
        self.assertNotEqual(there, elsewhere)

    def test_wrong_protocol(self) -> None:
        """A plain HTTP app that is registered as one of the envelope, and the reverse."""
        plain, envelope = self.app(), self.app(envelope=True)
        found = self.faults("--server_name=foo", f"--server_address=127.0.0.1:{plain}")
        self.assertIn("plain HTTP", found["app foo"])
        found = self.faults("--server_name=foo", f"--server_address=127.0.0.1:{envelope}", "--server_protocol=http")
        self.assertIn("envelope itself", found["app foo"])

    def test_sick_check(self) -> None:
        """A check that does not answer 2xx."""
        port = self.app(envelope=True, status=503)
        url = f"http://user:secret@127.0.0.1:{port}/health?token=secret"
        code, diagnoses = self.examine(
            f"--port={free_port()}",
            "--server_name=foo",
            f"--server_address=127.0.0.1:{port}",
            f"--healthcheck_url={url}",
        )
        self.assertEqual(code, 1)
        self.assertIn("503", str(diagnoses))
        self.assertNotIn("secret", str(diagnoses))

    def test_clock(self) -> None:
        """Somebody's clock is off."""
        port = self.app(envelope=True, ahead=3600.0)
        found = self.faults(
            "--server_name=foo", f"--server_address=127.0.0.1:{port}", f"--healthcheck_url=http://127.0.0.1:{port}/"
        )
        self.assertRegex(found["clock"], r"(3600|359\d) s behind")

    def test_port_taken(self) -> None:
        """Somebody else has the port."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            code, diagnoses = self.examine(f"--port={other.getsockname()[1]}")
        self.assertEqual(code, 1)
        self.assertIn("taken", diagnoses[0]["told"])

    def certificate(self, days: int) -> tuple[str, str]:
        """:returns: the files of a self-signed certificate that ends in so many days."""
        home = Path(self.mktemp())
        home.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "doctor")])
        now = datetime.now(timezone.utc)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=100))
            .not_valid_after(now + timedelta(days=days))
            .sign(key, hashes.SHA256())
        )
        (home / "cert").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (home / "key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(home / "cert"), str(home / "key")

    def test_certificates(self) -> None:
        """One that ended, one that ends soon, and one that is another key's."""
        ended, key = self.certificate(-3)
        found = self.faults(f"--tls_cert_file={ended}", f"--tls_key_file={key}")
        self.assertIn("ended 3 days ago", found[f"certificate {ended}"])
        good, _ = self.certificate(90)
        found = self.faults(f"--tls_cert_file={good}", f"--tls_key_file={key}")
        self.assertIn("does not belong", found[f"certificate {good}"])
        ended, key = self.certificate(-3)
        found = self.faults(f"--rpc_tls_cert_file={ended}", f"--rpc_tls_key_file={key}")
        self.assertIn("ended 3 days ago", found[f"certificate for nodes {ended}"])
        soon, its = self.certificate(5)
        code, diagnoses = self.examine(f"--port={free_port()}", f"--tls_cert_file={soon}", f"--tls_key_file={its}")
        self.assertEqual(code, 0)
        self.assertIn("warning", [one["level"] for one in diagnoses])

    def test_clocks_of_nodes(self) -> None:
        """A node whose clock is another's is named by a sidecar that runs; one that agrees is counted."""
        with running_daemon() as daemon:
            for name, ahead in (("fast", 600.0), ("right", 0.0)):
                node = {"id": f"{name}-1", "address": f"127.0.0.1:{self.app(ahead=ahead)}"}
                daemon.request("POST", "/registry", json.dumps({"name": name, "nodes": [node]}))
            code, diagnoses = self.examine(f"--proxy_address=127.0.0.1:{daemon.port}")
        self.assertEqual(code, 1)
        (wrong,) = [one["told"] for one in diagnoses if one["level"] == "fault"]
        self.assertIn("behind that of node fast-1", wrong)
        told = [one["told"] for one in diagnoses]
        self.assertIn("agrees with that of a node", told)
        self.assertIn("2 known: fast, right", told)

    def test_one_that_runs(self) -> None:
        """A sidecar that runs is asked; one that does not is a fault."""
        with running_daemon(["--enable_stats"]) as daemon:
            code, diagnoses = self.examine(f"--proxy_address=127.0.0.1:{daemon.port}")
            self.assertEqual(code, 0, diagnoses)
            self.assertIn("registry memory", [one["subject"] for one in diagnoses])
        code, diagnoses = self.examine(f"--proxy_address=127.0.0.1:{free_port()}")
        self.assertEqual((code, diagnoses[0]["level"]), (1, "fault"))
