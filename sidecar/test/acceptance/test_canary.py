"""A secret in every flag, header and URL, which must not show in any output, at any level."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.blocking import App
from sidecar.test.doubles.clients.traffic import until
from sidecar.test.doubles.programs.daemon import Daemon, run, running_daemon
from sidecar.test.doubles.programs.process import free_port

#: The secret. Whatever else holds it is a leak.
CANARY = "kanari3n"
#: What is asked of a sidecar by whoever looks, and of these what never ends.
PATHS = (
    "/health", "/health/live", "/health/ready", "/stats", "/stats?format=json", "/metrics", "/registry",
    "/registry?service=say", "/registry?service=nobody", "/registry?index=0", "/explain?service=say", "/journal",
    "/errors", "/openapi.json", "/asyncapi.json", "/nowhere", "/say/nowhere", "/check/app", "/maintenance",
)  # fmt: skip
STREAMS = ("/live", "/tap", "/registry/watch")
#: Whatever a client may think of to show a secret by.
HEADERS = {
    "Authorization": f"Bearer {CANARY}",
    "Micro-Sidecar-Token": CANARY,
    "Cookie": f"session={CANARY}",
    "X-Api-Key": CANARY,
    "Referer": f"http://127.0.0.1/?token={CANARY}",
    "Proxy-Authorization": f"Basic {CANARY}",
}
#: Engines that cannot be reached: their flags, with ``{port}`` where nobody listens.
ENGINES = (
    ("--registry=consul", "--registry_address=http://127.0.0.1:{port}", "--registry_token={c}",
     "--broker=nats", "--broker_address=nats://user:{c}@127.0.0.1:{port}"),
    ("--registry=etcd", "--registry_address=127.0.0.1:{port}", "--broker=rabbitmq",
     "--broker_address=amqp://user:{c}@127.0.0.1:{port}"),
    ("--registry=etcd", "--registry_address=127.0.0.1:{port}", "--registry_username=u", "--registry_password={c}",
     "--broker=redis", "--broker_address=redis://user:{c}@127.0.0.1:{port}"),
    ("--registry=nats", "--registry_address=nats://{c}@127.0.0.1:{port}", "--broker=rabbitmq",
     "--broker_address=127.0.0.1:{port}", "--broker_username=u", "--broker_password={c}"),
    ("--registry=memory", "--broker=nats", "--broker_address=127.0.0.1:{port}", "--broker_token={c}"),
)  # fmt: skip
#: Commands of ``micro`` that ask a sidecar.
COMMANDS = (
    ["services"], ["nodes", "say"], ["health", "say"], ["stats", "say"], ["log"], ["doctor"],
    ["get", "service", "dead"], ["call", "dead", "A.B", "{}"],
    ["call", "say", "A.B", "{}"], ["publish", "t", "x"], ["ready"],
)  # fmt: skip
#: Flags that are no good, each with a secret in it.
WRONG = (
    "--healthcheck_url=ftp://u:{c}@h/x?token={c}",
    "--healthcheck_url=http://u:{c}@h:port/x?token={c}",
    "--server_endpoints_url=ftp://u:{c}@h/x?token={c}",
    "--registry=consul,--registry_address=http://u:{c}@h:port",
    "--registry=consul,--registry_address=http://u:{c}@h:1",
    "--registry=etcd,--registry_address=http://u:{c}@h:1",
    "--registry=etcd,--registry_address=ftp://u:{c}@h",
    "--registry=nats,--registry_address=nats://u:{c}@h:port",
    "--broker=nats,--broker_address=nats://u:{c}@h:port",
    "--broker=rabbitmq,--broker_address=http://u:{c}@h",
    "--broker=rabbitmq,--broker_address=amqp://u:{c}@h:port",
    "--broker=redis,--broker_address=redis://u:{c}@h:port",
    "--broker=redis,--broker_address=http://u:{c}@h",
    "--otlp_endpoint=ftp://u:{c}@h?x={c}",
    "--registry_pasword={c}",
)


class Canary(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App.listen(socket.socket(), self.answer)
        self.addCleanup(self.app.close)

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if path.startswith("/ok"):
            return 500, b"not well"
        return 200, json.dumps({"id": 1, "result": {"ok": True}, "error": None}).encode()

    def hidden(self, text: str | bytes, where: str) -> None:
        said = text.decode(errors="replace") if isinstance(text, bytes) else text
        lines = [line[:500] for line in said.splitlines() if CANARY in line]
        self.assertEqual(lines, [], where)

    def daemon(self, *flags: str, env: Mapping[str, str] | None = None) -> Daemon:
        url = f"u:{CANARY}@127.0.0.1:{self.app.port}"
        common = [
            "--log_level=debug", "--access_log=all", "--enable_stats", "--server_name=app",
            f"--server_address=127.0.0.1:{self.app.port}", f"--healthcheck_url=http://{url}/ok?token={CANARY}",
            "--healthcheck_interval=1s", f"--server_endpoints_url=http://{url}/e?token={CANARY}",
            f"--otlp_endpoint=http://u:{CANARY}@127.0.0.1:{free_port()}/?token={CANARY}",
        ]  # fmt: skip
        daemon = running_daemon(
            [*common, *flags], {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={CANARY}", **(env or {})}
        )
        self.addCleanup(daemon.stop)
        return daemon

    def looked(self, daemon: Daemon, headers: Mapping[str, str], secret: bool = True) -> None:
        """Ask for everything, with a secret in each URL, and see that no answer has it."""
        for path in PATHS:
            for more in ("", f"token={CANARY}", f"ticket={CANARY}") if secret else ("",):
                target = path + (("&" if "?" in path else "?") + more if more else "")
                answer = daemon.request("GET", target, headers={**headers, "Accept": "*/*"})
                self.hidden(answer.body, target)
                self.hidden(str(answer.headers), target)
        for path in STREAMS:
            connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
            self.addCleanup(connection.close)
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            self.call(daemon, headers)
            self.hidden(response.fp.readline() + response.fp.readline() + response.fp.readline(), path)

    def call(self, daemon: Daemon, headers: Mapping[str, str]) -> None:
        """Calls that go well and wrong, with a secret in URL, headers and body."""
        for service in ("say", "dead", "nobody"):
            body = json.dumps({"service": service, "method": "A.B", "request": {"password": CANARY}})
            target = f"/rpc?explain=1&ticket={CANARY}" if service == "dead" else "/rpc?explain=1"
            answer = daemon.request("POST", target, body, {**headers, "Content-Type": "application/json"})
            self.hidden(answer.body, target)
            self.hidden(str(answer.headers), target)
        daemon.request("POST", "/broker?topic=t", json.dumps({"password": CANARY}), dict(headers))
        daemon.request("POST", f"/ticket?token={CANARY}", headers=dict(headers))
        daemon.request("DELETE", "/registry", json.dumps({"name": "nobody", "nodes": [{"id": "x"}]}), dict(headers))

    def registered(self, daemon: Daemon, headers: Mapping[str, str]) -> None:
        for name, port in (("say", self.app.port), ("dead", free_port())):
            node = {"id": f"{name}-1", "address": "127.0.0.1", "port": port}
            daemon.request("POST", "/registry", json.dumps({"name": name, "nodes": [node]}), dict(headers))

    def test_open(self) -> None:
        """Of a sidecar that knows no tokens: headers and URLs of callers, whatever they hold."""
        for form in ("text", "json", "journald"):
            daemon = self.daemon(f"--log_format={form}")
            self.registered(daemon, HEADERS)
            self.call(daemon, HEADERS)
            self.looked(daemon, HEADERS)
            daemon.signal()
            daemon.wait()
            self.hidden(daemon.output, form)
            self.assertIn("/rpc", daemon.output)

    def test_tokens(self) -> None:
        """Of one that does: the token in each place where it may be shown, tickets, and the commands of micro."""
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        made = run("micro", ["token", "new", "all", "--role=admin", "--role=call", "--role=publish", "--role=register",
                             "--role=read", "--file", str(home / "tokens")])  # fmt: skip
        token = made.stdout.decode().strip()
        (home / "token").write_text(token)
        daemon = self.daemon(f"--auth_tokens={home / 'tokens'}")
        headers = {"Micro-Sidecar-Token": token, "Authorization": f"Bearer {CANARY}"}
        self.registered(daemon, headers)
        self.call(daemon, headers)
        self.looked(daemon, headers, secret=False)
        ticket = daemon.request("POST", "/ticket", headers=headers).json["ticket"]
        daemon.request("GET", f"/registry?ticket={ticket}")
        daemon.request("GET", f"/registry?ticket={ticket}")
        micro = [f"--proxy_address=127.0.0.1:{daemon.port}", f"--token_file={home / 'token'}"]
        for words in COMMANDS:
            done = run("micro", [*micro, *words])
            said = done.stdout + done.stderr
            self.hidden(said, f"micro {' '.join(words)}")
            self.assertNotIn(token.encode(), said)
        listed = run("micro", ["token", "list", "--file", str(home / "tokens")])
        self.assertIn(b"all", listed.stdout)
        self.assertNotIn(token.encode(), listed.stdout)
        wrong = run("micro", ["--proxy_address=127.0.0.1:1", "services"], {"MICRO_TOKEN": CANARY})
        self.hidden(wrong.stdout + wrong.stderr, "micro with a token in its environment")
        daemon.signal()
        daemon.wait()
        self.hidden(daemon.output, "log")
        self.assertNotIn(token, daemon.output)
        self.assertNotIn(ticket, daemon.output)

    def test_engines(self) -> None:
        """Of engines that are away: their passwords, tokens, and addresses with a user."""
        for flags in ENGINES:
            filled = [flag.format(c=CANARY, port=free_port()) for flag in flags]
            daemon = self.daemon(*filled)
            until(lambda daemon=daemon: "away" in daemon.output or "refused" in daemon.output, 60)  # type: ignore[misc]
            self.looked(daemon, {}, secret=False)
            daemon.signal()
            daemon.wait()
            self.hidden(daemon.output, " ".join(flags))

    def test_wrong_flags(self) -> None:
        """Of flags that are refused: the sentence that says so."""
        for flags in WRONG:
            filled = flags.format(c=CANARY).split(",--")
            words = [filled[0], *(f"--{one}" for one in filled[1:])]
            for command in (["sidecar", "--port=0", "--data_dir=none", "--server_name=a", "--server_address=:1"],
                            ["check-config", "--server_name=a", "--server_address=:1"]):  # fmt: skip
                done = run("micro", [*command, *words])
                if command[0] == "sidecar":
                    self.assertNotEqual(done.returncode, 0, words)
                self.hidden(done.stdout + done.stderr, f"{command[0]} {flags}")
