"""The real commands as processes: how they start, what they say when they cannot, how they leave."""

from __future__ import annotations

import http.client
import os
import pty
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.certificates import authority
from sidecar.test.doubles.programs.daemon import Daemon, run, running_daemon, script
from sidecar.test.doubles.programs.process import default_signals, free_port

#: A short while, for something that has to happen on a loaded machine.
PATIENCE = 30.0


class App:
    """An app on a thread: answers health checks with ``status``, and calls after ``delay`` seconds."""

    def __init__(self, port: int = 0) -> None:
        app = self
        self.status = 200
        self.delay = 0.0
        self.checks = 0
        self.arrived = threading.Semaphore(0)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                app.checks += 1
                self.answer(app.status, b"ok")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                app.arrived.release()
                time.sleep(app.delay)
                self.answer(200, b'{"id":0,"result":{"msg":"hello"},"error":null}\n')

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Callers that leave early are part of the tests."""

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class ProcessTests(SynchronousTestCase):
    def daemon(self, *args: str, env: dict[str, str] | None = None, command: str = "micro") -> Daemon:
        daemon = running_daemon(args, env, command)
        self.addCleanup(daemon.stop)
        return daemon

    def app(self) -> App:
        app = App()
        self.addCleanup(app.stop)
        return app

    def soon(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"not within {PATIENCE} s: {what}")
            time.sleep(0.02)

    def home(self) -> Path:
        # Not mktemp: a Unix socket's path may have about 100 characters only, and processes start elsewhere.
        home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, home)
        return home


class StartTests(ProcessTests):
    def test_every_command(self) -> None:
        """twistd, micro and microsidecar start the same daemon; each leaves with exit code 0 on SIGTERM and SIGINT."""
        for command, number in (
            ("micro", signal.SIGTERM),
            ("microsidecar", signal.SIGINT),
            ("twistd", signal.SIGTERM),
            ("twistd", signal.SIGINT),
        ):
            daemon = self.daemon(command=command)
            self.assertEqual(daemon.request("GET", "/registry").json, [])
            daemon.signal(number)
            self.assertEqual(daemon.wait(), 0, daemon.output)
            self.assertNotIn("Traceback", daemon.output)

    def test_flags_before_the_word(self) -> None:
        """``micro --enable_stats sidecar`` serves /stats; without the flag there is none."""
        with running_daemon(["--enable_stats", "sidecar"], command="flags first") as daemon:
            self.assertEqual(daemon.request("GET", "/stats", headers={"Accept": "application/json"}).status, 200)
        self.assertEqual(self.daemon().request("GET", "/stats").status, 404)

    def test_environment(self) -> None:
        """MICRO_* variables are heeded by every command."""
        for command in ("micro", "twistd"):
            daemon = self.daemon(env={"MICRO_ENABLE_STATS": "true"}, command=command)
            self.assertEqual(daemon.request("GET", "/stats", headers={"Accept": "application/json"}).status, 200)
            daemon.stop()

    def test_unix_socket(self) -> None:
        """``--port=unix:...`` serves there."""
        path = str(self.home() / "x.sock")
        self.daemon(f"--port=unix:{path}")
        done = run("micro", [f"--proxy_address=unix:{path}", "list", "services"])
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)

    def test_tls(self) -> None:
        """Certificate flags before the word serve https, also to those who show a certificate."""
        issuer = authority(self.home())
        cert, key = issuer.issue("server")
        daemon = self.daemon("--enable_tls", f"--tls_cert_file={cert}", f"--tls_key_file={key}")
        context = ssl.create_default_context(cafile=issuer.ca_file)
        connection = http.client.HTTPSConnection("127.0.0.1", daemon.port, context=context, timeout=60)
        self.addCleanup(connection.close)
        connection.request("GET", "/registry")
        self.assertEqual(connection.getresponse().read(), b"[]\n")
        self.assertIn("Listening on https://", daemon.output)

    def test_systemd_is_told(self) -> None:
        """READY=1 once it serves, STOPPING=1 when it leaves."""
        path = str(self.home() / "notify.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(PATIENCE)
            daemon = self.daemon(env={"NOTIFY_SOCKET": path})
            self.assertRegex(notify.recv(1000), rb"^READY=1\nSTATUS=Listening on http")
            daemon.signal()
            self.assertEqual(notify.recv(100), b"STOPPING=1\nSTATUS=Draining")
            self.assertEqual(daemon.wait(), 0)

    def test_nothing_is_left_in_the_directory(self) -> None:
        """micro writes neither a pid file nor a log."""
        daemon = self.daemon()
        self.assertEqual(os.listdir(daemon.program.home), [daemon.program.log.name])


class HangupTests(ProcessTests):
    def test_certificates_are_read_again(self) -> None:
        """SIGHUP: who is connected stays so, whoever comes next sees the new certificate; a bad one is logged and the
        old one stays in use."""
        home = self.home()
        for name in ("first", "second"):
            (home / name).mkdir()
        first, second = authority(home / "first"), authority(home / "second")
        cert, key = home / "cert.pem", home / "key.pem"

        def use(files: tuple[str, str]) -> None:
            for place, made in zip((cert, key), files, strict=True):
                place.write_bytes(Path(made).read_bytes())

        use(first.issue("server"))
        daemon = self.daemon(f"--tls_cert_file={cert}", f"--tls_key_file={key}")

        def connected(ca_file: str) -> http.client.HTTPSConnection:
            context = ssl.create_default_context(cafile=ca_file)
            connection = http.client.HTTPSConnection("127.0.0.1", daemon.port, context=context, timeout=60)
            self.addCleanup(connection.close)
            self.asked(connection)
            return connection

        before = connected(first.ca_file)
        use(second.issue("server"))
        daemon.signal(signal.SIGHUP)
        self.soon(lambda: "Received SIGHUP" in daemon.output, "the reload")
        after = connected(second.ca_file)
        cert.write_text("half a file")
        daemon.signal(signal.SIGHUP)
        self.soon(lambda: "certificates in use stay" in daemon.output, "the refusal")
        connected(second.ca_file)
        for connection in (before, after):
            sock = connection.sock
            self.asked(connection)
            self.assertIs(connection.sock, sock)

    def asked(self, connection: http.client.HTTPSConnection) -> None:
        connection.request("GET", "/registry")
        self.assertEqual(connection.getresponse().read(), b"[]\n")

    def test_from_the_moment_its_port_is_open(self) -> None:
        """Without a terminal SIGHUP never ends it, however early it comes."""
        port = free_port()
        home = self.home()
        with (home / "log").open("wb") as log:
            daemon = subprocess.Popen(
                [script("microsidecar"), f"--port={port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd=home,
            )  # fmt: skip
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with socket.socket() as caller:
                if caller.connect_ex(("127.0.0.1", port)) == 0:
                    break
        for _ in range(20):
            daemon.send_signal(signal.SIGHUP)
            time.sleep(0.02)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.addCleanup(connection.close)
        connection.request("GET", "/registry")
        self.assertEqual(connection.getresponse().status, 200)
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(PATIENCE), 0, (home / "log").read_text())

    def test_a_terminal_that_is_closed(self) -> None:
        """It leaves in order; while the terminal is open it reads its files again."""
        log, program = self.home() / "log", script("microsidecar")
        pid, terminal = pty.fork()
        if pid == 0:
            try:
                default_signals()
                with log.open("wb") as file:
                    os.dup2(file.fileno(), 2)
                os.execv(program, ["microsidecar", "--port=0"])
            finally:
                os._exit(127)
        self.soon(lambda: log.exists() and "Listening on " in log.read_text(), "the port")
        os.kill(pid, signal.SIGHUP)
        self.soon(lambda: "Received SIGHUP: reading files again" in log.read_text(), "the reload")
        os.close(terminal)
        ended: list[int] = []

        def has_ended() -> bool:
            found, status = os.waitpid(pid, os.WNOHANG)
            ended.extend([status] if found else [])
            return bool(ended)

        self.addCleanup(lambda: None if ended else os.kill(pid, signal.SIGKILL))
        self.soon(has_ended, "the end")
        self.assertEqual(ended, [0], log.read_text())
        self.assertIn("the terminal was closed", log.read_text())
        self.assertIn("Stopped", log.read_text())


class FaultTests(ProcessTests):
    def assert_fault(self, args: list[str], *words: str) -> None:
        """Every command says it in one line on standard error, exit code 1 or 2."""
        for name, before in (
            ("micro", ["sidecar"]),
            ("microsidecar", []),
            ("twistd", ["-n", "--pidfile=", "microsidecar"]),
        ):
            done = run(name, [*before, *args], cwd=str(self.home()))
            said = done.stderr.decode()
            self.assertIn(done.returncode, (1, 2), said)
            self.assertEqual(said.count("\n"), 1, said)
            self.assertNotIn(b"Listening", done.stdout)
            for word in words:
                self.assertIn(word, said)

    def test_busy_port(self) -> None:
        """Said at once, and nothing is registered."""
        daemon = self.daemon()
        self.assert_fault(
            ["--port", str(daemon.port), "--server_name=foo", "--server_address=127.0.0.1:9"],
            str(daemon.port),
            "in use",
        )

    def test_bad_values(self) -> None:
        """Flags of every kind."""
        self.assert_fault(["--healthcheck_interval=5x"], "--healthcheck_interval=5x")
        self.assert_fault(["--registry=xyz"], "xyz", "memory")
        self.assert_fault(["--tls_cert_file=/no/cert", "--tls_key_file=/no/key"], "/no/cert")
        self.assert_fault(["--enable_acme"], "certbot")
        self.assert_fault(["--port=unix:/no/such/directory/api.sock"], "/no/such/directory/api.sock", "No such file")

    def test_bytes_that_are_no_text(self) -> None:
        """Exit code 2, one line in escapes, whichever command."""
        for given, env in (
            (["--server_name=" + os.fsdecode(b"gr\xf6e")], {}),
            ([], {"MICRO_SERVER_NAME": os.fsdecode(b"gr\xf6e")}),
        ):
            done = run("microsidecar", given, env)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (2, 1), done.stderr)
            self.assertIn(b"gr\\xf6e", done.stderr)

    def test_variables_that_others_set(self) -> None:
        """The daemon starts all the same, and its log names them."""
        env = {"MICRO_PORT": "tcp://10.96.12.7:8081", "MICRO_REGSTRY": "consul"}
        daemon = running_daemon(["--address=127.0.0.1:0"], env)
        self.addCleanup(daemon.stop)
        self.soon(lambda: "did you mean MICRO_REGISTRY?" in daemon.output, "the warning")
        self.assertIn("MICRO_PORT=tcp://10.96.12.7:8081 is ignored", daemon.output)

    def test_faults_of_the_environment(self) -> None:
        """What came from a variable is called by that, also where it fails later than it is read."""
        for env in (
            {"MICRO_TLS_CERT_FILE": "/no/cert", "MICRO_TLS_KEY_FILE": "/no/key"},
            {"MICRO_REGISTRY_CA_FILE": "/no/ca", "MICRO_REGISTRY": "consul"},
        ):
            done = run("microsidecar", ["--port=0"], env)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(next(iter(env)).encode(), done.stderr)

    def test_mismatched_key(self) -> None:
        """A key of another certificate."""
        issuer = authority(self.home())
        cert, key = issuer.issue("server")[0], issuer.issue("other")[1]
        self.assert_fault([f"--tls_cert_file={cert}", f"--tls_key_file={key}"], key)

    def test_help_and_version(self) -> None:
        """On standard output, exit code 0."""
        for name, before in (("micro", ["sidecar"]), ("microsidecar", []), ("twistd", ["-n", "microsidecar"])):
            done = run(name, [*before, "--help"], cwd=str(self.home()))
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(b"--server_name", done.stdout)
            done = run(name, [*before, "--version"], cwd=str(self.home()))
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stdout, rb"^microsidecar \d+\.\d+\.\d+\n$")

    def test_reactor(self) -> None:
        """``--reactor`` is respected by micro, and sent to twistd itself there."""
        self.assertIn("Listening", self.daemon("--reactor=select").output)
        self.assertIn(b"there is no such reactor", run("micro", ["sidecar", "--reactor=warp"]).stderr)
        done = run("twistd", ["-n", "--pidfile=", "microsidecar", "--reactor=poll"], cwd=str(self.home()))
        self.assertEqual(done.returncode, 2)


class AppTests(ProcessTests):
    def known(self, daemon: Daemon) -> bool:
        return daemon.request("GET", "/registry?service=foo").status == 200

    def test_registered_checked_out_and_in_again(self) -> None:
        """With the log lines of the README."""
        app = self.app()
        daemon = self.daemon(
            "--server_name=foo",
            f"--server_address=127.0.0.1:{app.port}",
            f"--healthcheck_url=http://127.0.0.1:{app.port}/_status/health",
            "--healthcheck_interval=100ms",
        )
        self.soon(lambda: self.known(daemon), "the first check is passed")
        self.assertRegex(daemon.output, r"Registering foo-[0-9a-f]{8}-")
        self.assertIn("Starting sidecar healthchecker", daemon.output)
        app.status = 503
        self.soon(lambda: not self.known(daemon), "the sick app leaves")
        self.assertRegex(daemon.output, r"Deregistering foo-.*503")
        self.assertGreaterEqual(daemon.request("GET", "/health").status, 500)
        app.status = 200
        self.soon(lambda: self.known(daemon), "the healthy app is back")
        self.assertEqual(daemon.request("GET", "/health").status, 200)

    def test_addresses_that_are_made_right(self) -> None:
        """Every interface is registered as an address that can be called, and the log says which."""
        app = self.app()
        daemon = self.daemon("--server_name=foo", f"--server_address=0.0.0.0:{app.port}")
        (node,) = daemon.request("GET", "/registry?service=foo").json["nodes"]
        self.assertEqual((node["address"], node["port"]), ("127.0.0.1", app.port))
        self.assertIn("is every interface: registered as 127.0.0.1", daemon.output)
        self.assertNotIn("warnings", daemon.request("GET", "/health").json)

    def test_addresses_that_others_cannot_reach(self) -> None:
        """Loopback in a registry of others is a warning, in the log once and in /health; ids are as short as they have
        to be."""
        name = "inventory-reservation-service"
        daemon = self.daemon(
            "--registry=mdns", "--mdns_interface=127.0.0.1", f"--server_name={name}", "--server_address=127.0.0.1:9"
        )
        self.soon(lambda: daemon.request("GET", f"/registry?service={name}").status == 200, "registered")
        (node,) = daemon.request("GET", f"/registry?service={name}").json["nodes"]
        self.assertRegex(node["id"], f"^{name}-[0-9a-f]+$")
        said = [line for line in daemon.output.splitlines() if "which cannot reach it" in line]
        self.assertEqual(len(said), 1, said)
        health = daemon.request("GET", "/health")
        self.assertEqual(health.status, 200)
        self.assertIn("--server_advertise", health.json["warnings"][0])

    def test_checks_over_https(self) -> None:
        """A self-signed app is healthy with ``--healthcheck_ca_file``, ill without; a file that is none is a fault."""
        issuer = authority(self.home())
        app = self.app()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*issuer.issue("server"))
        app.server.socket = context.wrap_socket(app.server.socket, server_side=True)
        checked = [
            "--server_name=foo",
            f"--server_address=127.0.0.1:{app.port}",
            f"--healthcheck_url=https://127.0.0.1:{app.port}/?token=hidden",
        ]
        daemon = self.daemon(*checked, f"--healthcheck_ca_file={issuer.ca_file}")
        self.soon(lambda: self.known(daemon), "healthy")
        stranger = self.daemon(*checked)
        self.soon(lambda: "is not registered before it is healthy" in stranger.output, "ill")
        self.assertNotIn("hidden", daemon.output + stranger.output + str(daemon.request("GET", "/health").json))
        done = run("microsidecar", ["--port=0", *checked, "--healthcheck_ca_file=/no/ca"])
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1))
        self.assertIn(b"--healthcheck_ca_file=/no/ca", done.stderr)

    def test_leaving_under_load(self) -> None:
        """SIGTERM under 100 slow calls: the app leaves first, every call is answered, exit code 0."""
        app = self.app()
        app.delay = 2.0
        daemon = self.daemon("--server_name=foo", f"--server_address=127.0.0.1:{app.port}")
        answers: list[int] = []

        def call() -> None:
            answers.append(daemon.request("POST", "/rpc", b"service=foo&method=Say.Hello&request={}").status)

        callers = [threading.Thread(target=call) for _ in range(100)]
        for caller in callers:
            caller.start()
        for _ in callers:
            self.assertTrue(app.arrived.acquire(timeout=PATIENCE))
        daemon.signal()
        for caller in callers:
            caller.join(PATIENCE)
        self.assertEqual(answers, [200] * 100, daemon.output[-2000:])
        self.assertEqual(daemon.wait(), 0)
        self.assertLess(
            daemon.output.index("Deregistering foo-"), daemon.output.index(f"No longer listening on {daemon.url}")
        )

    def test_a_second_signal_ends_it_at_once(self) -> None:
        """Whoever asks twice does not want to wait for calls in flight: it ends with 1."""
        app = self.app()
        app.delay = 60.0
        daemon = self.daemon(
            "--server_name=foo", f"--server_address=127.0.0.1:{app.port}", "--client_request_timeout=60s"
        )
        caller = threading.Thread(target=lambda: self.lost(daemon), daemon=True)
        caller.start()
        self.assertTrue(app.arrived.acquire(timeout=PATIENCE))
        daemon.signal()
        self.soon(lambda: "Received SIGTERM" in daemon.output, "the first signal")
        daemon.signal()
        self.assertEqual(daemon.wait(9), 1)
        caller.join(PATIENCE)

    def lost(self, daemon: Daemon) -> None:
        try:
            daemon.request("POST", "/rpc", b"service=foo&method=Say.Hello&request={}")
        except (OSError, http.client.HTTPException):
            pass  # that is what the second signal does

    def test_an_app_that_is_down_stays_out(self) -> None:
        """Nobody at the health URL: it is not registered, /health and calls to it are 503 with the reason; registered
        soon after it comes up, though it is asked once a minute when it is well."""
        port = free_port()
        daemon = self.daemon(
            "--server_name=foo",
            f"--server_address=127.0.0.1:{port}",
            f"--healthcheck_url=http://127.0.0.1:{port}/",
            "--healthcheck_interval=60s",
        )
        self.soon(lambda: "is not registered before it is healthy" in daemon.output, "the check fails")
        self.assertFalse(self.known(daemon))
        for asked in (("GET", "/health"), ("POST", "/rpc", b"service=foo&method=Say.Hello&request={}")):
            answer = daemon.request(*asked)
            self.assertEqual(answer.status, 503, answer.body)
            self.assertIn(f"http://127.0.0.1:{port}/".encode(), answer.body)
        app = App(port)
        self.addCleanup(app.stop)
        self.soon(lambda: self.known(daemon), "it is registered")
        self.assertEqual(daemon.request("GET", "/health").status, 200)


class ConfigTests(ProcessTests):
    """A configuration file, from start to reload."""

    FILE = """
[[app]]
name = "shop"
address = "127.0.0.1:{port}"
version = "{version}"

[[app.check]]
name = "beats"
ttl = "60s"

[[app.check]]
name = "web"
http = "http://127.0.0.1:{port}/"

[[app]]
name = "{second}"
address = "127.0.0.1:{port}"
"""

    def test_apps_checks_and_reload(self) -> None:
        """Two apps from one file; heartbeats; a good file is applied without losing a call, a bad one keeps the old
        state and says where."""
        app = self.app()
        path = self.home() / "sidecar.toml"
        path.write_text(self.FILE.format(port=app.port, version="1", second="stock"))
        daemon = self.daemon(f"--config={path}")
        self.soon(lambda: self.known(daemon, "stock"), "the app without checks")
        self.assertEqual(daemon.request("GET", "/health").status, 503)
        self.assertEqual(daemon.request("PUT", "/check/beats/pass", b"here I am").json, {"status": "ok"})
        self.assertEqual(daemon.request("PUT", "/check/other/pass").status, 404)
        self.assertEqual(daemon.request("PUT", "/check/beats/maybe").status, 404)
        self.soon(lambda: self.known(daemon, "shop"), "the app with checks")
        self.assertIn("here I am", str(daemon.request("GET", "/health").json))

        answers: list[int] = []
        done = threading.Event()

        def call() -> None:
            while not done.is_set():
                answers.append(daemon.request("POST", "/rpc", b"service=shop&method=Say.Hello&request={}").status)

        caller = threading.Thread(target=call)
        caller.start()
        path.write_text(self.FILE.format(port=app.port, version="2", second="store"))
        daemon.signal(signal.SIGHUP)
        self.soon(lambda: self.version(daemon) == "2", "the new version")
        self.soon(lambda: self.known(daemon, "store") and not self.known(daemon, "stock"), "the other app")
        path.write_text(self.FILE.format(port=app.port, version="3", second="store") + "[[app]]\nnmae = 'x'\n")
        daemon.signal(signal.SIGHUP)
        self.soon(lambda: "did you mean name?" in daemon.output, "the refusal")
        self.assertIn(f"{path} line 19", daemon.output)
        address = f"--proxy_address=127.0.0.1:{daemon.port}"
        refused = run("micro", [address, "reload"])
        self.assertEqual(refused.returncode, 1)
        self.assertIn(f"{path} line 19".encode(), refused.stderr)
        path.write_text("max_body = '1MiB'\n" + self.FILE.format(port=app.port, version="2", second="store"))
        self.assertIn(b"needs a restart", run("micro", [address, "reload"]).stdout)
        done.set()
        caller.join(PATIENCE)
        self.assertEqual((self.version(daemon), set(answers)), ("2", {200}))
        daemon.request("PUT", "/check/beats/fail", b"the cellar is under water")
        self.soon(lambda: not self.known(daemon, "shop"), "the ill app leaves")
        self.assertIn("under water", str(daemon.request("GET", "/health").json))

    def known(self, daemon: Daemon, name: str) -> bool:
        return daemon.request("GET", f"/registry?service={name}").status == 200

    def version(self, daemon: Daemon) -> str:
        return str(daemon.request("GET", "/registry?service=shop").json.get("version"))

    def test_check_config(self) -> None:
        """``micro check-config`` says the same as the daemon would, and where each value came from."""
        path = self.home() / "sidecar.toml"
        path.write_text('port = 1\nregistry_password = "hidden"\n')
        env = {"MICRO_CLIENT_RETRIES": "7"}
        done = run("micro", ["check-config", f"--config={path}", "--explain", "--drain_timeout=5s"], env)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        for line in (
            rf"port +1 +{path} line 1",
            r"registry_password +\.\.\. ",
            r"client_retries +7 +MICRO_CLIENT_RETRIES",
            r"drain_timeout +5s +--drain_timeout",
            r"max_body +4MiB +default",
        ):
            self.assertRegex(done.stdout.decode(), line)
        self.assertNotIn(b"hidden", done.stdout)
        path.write_text("prot = 1\n")
        for name, args in (("micro", ["check-config"]), ("microsidecar", [])):
            done = run(name, [*args, f"--config={path}"])
            self.assertEqual(done.returncode, 2)
            self.assertIn(b"line 1: prot is no setting; did you mean port?", done.stderr)
