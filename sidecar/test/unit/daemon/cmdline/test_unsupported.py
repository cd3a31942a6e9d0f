"""Flags that would do nothing are told: refused where they were typed, else warned of."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.cmdline.flags import BY_NAME
from sidecar.daemon.cmdline.options import Options
from sidecar.daemon.cmdline.unsupported import NEEDS
from sidecar.test.doubles.programs.process import not_installed

APP = ("--server_name=foo", "--server_address=127.0.0.1:9090")
HTTP = (*APP, "--server_protocol=http")


class WarningsCase(SynchronousTestCase):
    skip = not_installed()

    def warnings(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        options = Options(env or {})
        options.parseOptions(["--config=none", *arguments])
        return "\n".join(options.warnings)


class Typed(WarningsCase):
    def test_refused(self) -> None:
        """What was meant for something that is not there stops the sidecar, and says what would help."""
        for arguments, words in (
            (("--server_tls_cert_file=a.pem", "--server_tls_key_file=a.key"), "--server_name and --server_address"),
            (("--server_protocol=http",), "--server_name and --server_address"),
            (("--server_metadata=a=b",), "--server_name and --server_address"),
            (("--server_max_body=1MiB",), "--server_protocol=http"),
            ((*APP, "--server_max_body=1MiB"), "--server_protocol=http"),
            ((*APP, "--server_max_header=1MiB"), "--server_protocol=http"),
            ((*APP, "--server_inbound=127.0.0.1:9091"), "--server_protocol=http"),
            (("--broker_events_create",), "--broker=nats"),
            (("--broker=redis", "--broker_events_create"), "--broker=nats"),
            (("--registry_address=127.0.0.1:8500",), "--registry=memory takes none"),
            (("--broker_address=127.0.0.1:4222",), "--broker=memory takes none"),
            (("--registry=consul", "--mdns_interface=127.0.0.1"), "--registry=mdns"),
            (("--enable_tls=false", "--tls_client_ca_file=ca.pem"), "--enable_tls=false"),
        ):
            error = self.assertRaises(usage.UsageError, self.warnings, *arguments)
            self.assertIn(" does nothing: ", str(error))
            self.assertIn(words, str(error))

    def test_warned_of(self) -> None:
        """What only tunes something that is not there."""
        for arguments, words in (
            (("--register_ttl=1m",), "--register_ttl does nothing: it is for the app"),
            ((*APP, "--register_interval=3s"), "never expires"),
            ((*APP, "--healthcheck_interval=3s"), "--healthcheck_url"),
            (("--registry=consul", "--registry_username=me"), "--registry=consul takes none"),
            (("--broker=http", "--broker_token=secret"), "--broker=http takes none"),
            (("--client_retries=0", "--client_retry=error"), "tries nothing again"),
            (("--client_pool_ttl=2m",), "1m is the most"),
            (("--eject_max_time=1s",), "--eject_time"),
            (("--rpc_tls=off", "--rpc_tls_ca_file=ca.pem"), "--rpc_tls=off"),
            (("--http_channel=stock", "--body_timeout=1s"), "--http_channel=stock"),
            (("--proxy_address=127.0.0.1:8081",), "client commands"),
        ):
            told = self.warnings(*arguments)
            self.assertIn(words, told, arguments)
            self.assertNotIn("secret", told)

    def test_nothing_to_say(self) -> None:
        """Where a flag has what it needs, is a switch that is off, or is given without a value."""
        for arguments in (
            (*HTTP, "--server_max_body=1MiB", "--server_inbound=127.0.0.1:0"),
            (*HTTP, "--register_ttl=1m", "--register_interval=3s"),
            (*APP, "--healthcheck_url=http://127.0.0.1:9090/", "--healthcheck_rise=2"),
            ("--broker_events_create=false", "--registry_tls=false"),
            ("--registry_address=", "--broker_address="),
            ("--broker=nats", "--broker_events_create", "--broker_token=secret"),
            ("--registry=memory,consul", "--registry_address=127.0.0.1:8500", "--registry_token=secret"),
            ("--client_retries=0",),
        ):
            self.assertEqual(self.warnings(*arguments), "", arguments)


class Elsewhere(WarningsCase):
    def test_variables_stop_nothing(self) -> None:
        """They may be shared by many; the warning calls them by their names, without secrets."""
        told = self.warnings(
            env={
                "MICRO_SERVER_TLS_CERT_FILE": "a.pem",
                "MICRO_BROKER_EVENTS_CREATE": "true",
                "MICRO_REGISTRY_ADDRESS": "127.0.0.1:8500",
                "MICRO_REGISTRY_PASSWORD": "secret",
                "MICRO_PROXY_ADDRESS": "127.0.0.1:8081",
            }
        )
        for name in ("SERVER_TLS_CERT_FILE", "BROKER_EVENTS_CREATE", "REGISTRY_ADDRESS", "REGISTRY_PASSWORD"):
            self.assertIn(f"MICRO_{name} does nothing: ", told)
        self.assertNotIn("secret", told)
        self.assertNotIn("PROXY_ADDRESS", told)

    def test_files_stop_nothing(self) -> None:
        """A flag may have taken away what the file's own lines need."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write('broker = "nats"\nbroker_events_create = true\n')
        options = Options({})
        options.parseOptions([f"--config={path}", "--broker=memory"])
        (told,) = options.warnings
        self.assertIn("does nothing: events are JetStream's", told)
        self.assertIn(path, told)


class Table(SynchronousTestCase):
    def test_names(self) -> None:
        """Every flag of it is one."""
        self.assertEqual([name for need in NEEDS for name in need.flags if name not in BY_NAME], [])
