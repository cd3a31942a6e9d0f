"""What users write reaches the settings, or is answered in their own words."""

from __future__ import annotations

import os
from collections.abc import Mapping

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli import table
from sidecar.daemon.cmdline.options import Options
from sidecar.daemon.cmdline.sources import printable
from sidecar.test.doubles.programs.process import not_installed

# Backends are found by their entry points, and settings are read against those there are.
skip = not_installed()


def parsed(*arguments: str, env: Mapping[str, str] | None = None) -> Options:
    options = Options(env or {})
    options.parseOptions(arguments)
    return options


class FaultTests(SynchronousTestCase):
    def assert_fault(self, words: tuple[str, ...], *arguments: str, env: Mapping[str, str] | None = None) -> str:
        said = str(self.assertRaises(usage.UsageError, parsed, *arguments, env=env))
        for word in words:
            self.assertIn(word, said)
        self.assertNotIn("\n", said)
        return said

    def test_bytes_that_are_no_text(self) -> None:
        """In a flag or a variable, as its value or its name: refused, and shown in escapes."""
        name = os.fsdecode(b"gr\xf6e")
        said = self.assert_fault(("--server_name=gr\\xf6e", "not text"), f"--server_name={name}")
        said.encode("ascii")
        self.assert_fault(("MICRO_SERVER_NAME=gr\\xf6e", "not text"), env={"MICRO_SERVER_NAME": name})
        self.assert_fault(("--server_metadata", "not text"), f"--server_metadata=a={name}")
        self.assert_fault(("\\xf6", "not a flag"), f"--{name}=1").encode("ascii")
        self.assert_fault(("\\xf6", "not a flag"), name).encode("ascii")
        self.assert_fault(("--server_name=a\\x0ab", "control"), "--server_name=a\nb")

    def test_text_of_every_language_is_text(self) -> None:
        """What is UTF-8 passes as it is."""
        app = parsed("--server_name=größe", "--server_address=127.0.0.1:9").settings.apps[0]
        self.assertEqual(app.name, "größe")

    def test_given_twice(self) -> None:
        """A flag that has one value is given once, under whichever of its names; lists grow."""
        self.assert_fault(("--port=1", "--port=2", "twice"), "--port=1", "--port", "2")
        self.assert_fault(("--address=:1", "--sidecar-address=:2", "twice"), "--address=:1", "--sidecar-address=:2")
        self.assert_fault(("--enable_stats", "twice"), "--enable_stats", "--enable_stats")
        said = self.assert_fault(("twice",), "--registry_token=hidden", "--registry_token=hidden")
        self.assertNotIn("hidden", said)
        engines = parsed("--registry=memory", "--registry=consul").settings.registry.engines
        self.assertEqual([engine.kind for engine in engines], ["memory", "consul"])
        self.assertEqual(parsed("--cors=http://a", "--sidecar_cors=http://b").settings.cors, ("http://a", "http://b"))

    def test_the_variable_is_named(self) -> None:
        """What is wrong with a value of the environment is said of its variable, not of a flag that nobody gave."""
        for env, words in (
            ({"MICRO_SIDECAR_SERVER_NAME": "foo"}, ("MICRO_SIDECAR_SERVER_NAME=foo", "--server_address")),
            ({"MICRO_REGISTRY": "xyz"}, ("MICRO_REGISTRY=xyz",)),
            ({"MICRO_ENABLE_TLS": "true"}, ("--tls_cert_file",)),
            ({"MICRO_PORT": "1", "MICRO_SIDECAR_ADDRESS": ":2"}, ("MICRO_PORT and MICRO_SIDECAR_ADDRESS",)),
            ({"MICRO_REGISTRY_ADDRESS": "etcd=x:1"}, ("MICRO_REGISTRY_ADDRESS=etcd=x:1",)),
        ):
            self.assert_fault(words, env=env)

    def test_secrets_in_urls(self) -> None:
        """They are in no message."""
        for url in ("ftp://u:hidden@h/", "http://h:0/?token=hidden"):
            self.assertNotIn("hidden", self.assert_fault(("--healthcheck_url",), f"--healthcheck_url={url}"))


class WarningTests(SynchronousTestCase):
    def test_links(self) -> None:
        """What Kubernetes and Docker set beside a service called micro is ignored, with a warning."""
        env = {
            "MICRO_PORT": "tcp://10.96.12.7:8081",
            "MICRO_PORT_8081_TCP_ADDR": "10.96.12.7",
            "MICRO_SERVICE_HOST": "10.96.12.7",
            "MICRO_SERVICE_PORT_HTTP": "8081",
        }
        found = parsed(env=env)
        self.assertEqual(found.settings, parsed().settings)
        port, others = found.warnings
        self.assertIn("MICRO_PORT=tcp://10.96.12.7:8081 is ignored", port)
        for name in ("MICRO_PORT_8081_TCP_ADDR", "MICRO_SERVICE_HOST", "MICRO_SERVICE_PORT_HTTP"):
            self.assertIn(name, others)

    def test_unknown_variables(self) -> None:
        """They are named with the nearest that there is, or with what is used instead."""
        (warning,) = parsed(env={"MICRO_REGSTRY": "consul"}).warnings
        self.assertIn("MICRO_REGSTRY", warning)
        self.assertIn("MICRO_REGISTRY?", warning)
        (warning,) = parsed(env={"MICRO_TRANSPORT": "grpc"}).warnings
        self.assertIn("MICRO_TRANSPORT", warning)
        self.assertEqual(parsed(env={"MICROSCOPE": "1", "PATH": "x", "MICRO_REGSTRY": ""}).warnings, ())

    def test_variables_of_the_client_are_known(self) -> None:
        """What only ``micro`` reads is nothing to warn of."""
        names = {option.env for command in table.COMMANDS for option in (*command.options, *table.COMMON)} - {""}
        self.assertEqual(parsed(env=dict.fromkeys({*names, "MICRO_TOKEN"}, "x")).warnings, ())


class PrintableTests(SynchronousTestCase):
    def test_escapes(self) -> None:
        """Bytes that are no text and control characters are shown in escapes, text as it is."""
        self.assertEqual(printable(os.fsdecode(b"a\xf6\x1b[2J\xc3\xb6")), "a\\xf6\\x1b[2Jö")
