"""Flags and environment become settings; every fault is one sentence that names the flag."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.cmdline.flags import BY_NAME, FLAGS
from sidecar.daemon.cmdline.options import Options, TextAsked
from sidecar.daemon.cmdline.settings import EndpointPort, Settings, TcpPort, TlsSettings
from sidecar.daemon.cmdline.unsupported import UNSUPPORTED
from sidecar.net.peers import Shares
from sidecar.rpc.dialects.nodetls import NodeTlsSettings
from sidecar.test.doubles.programs.process import not_installed

# Backends are found by their entry points, and the flags are read against those there are.
skip = not_installed()


def settings(*arguments: str, env: Mapping[str, str] | None = None) -> Settings:
    options = Options(env or {})
    options.parseOptions(arguments)
    return options.settings


class SpellingTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Without a word the daemon listens on loopback, with the embedded engines and no app."""
        found = settings()
        self.assertEqual(found.listen.where, TcpPort("127.0.0.1", 8081))
        self.assertEqual([engine.kind for engine in found.registry.engines], ["memory"])
        self.assertEqual(found.broker.engine.kind, "memory")
        self.assertEqual(found.apps, ())
        self.assertFalse(found.tls.enabled)
        self.assertEqual(found.client.request_timeout, 5.0)
        self.assertEqual((found.http.max_body, found.http.max_header), (4 * 1024 * 1024, 16 * 1024))

    def test_settings_defaults_are_the_flags_defaults(self) -> None:
        """``Settings()`` and an empty command line are the same thing."""
        self.assertEqual(settings(), Settings())

    def test_shares(self) -> None:
        """One peer may have a quarter of what there is in all, or what a flag says, which is one at least."""
        few = settings("--max_connections=9", "--broker_max_connections=8").http.shares
        self.assertEqual(few, Shares(3, 3, 2, 2))
        names = ("connections", "requests", "websockets", "subscriptions")
        given = settings(*(f"--max_peer_{name}={number}" for number, name in enumerate(names, 5)))
        self.assertEqual(given.http.shares, Shares(5, 6, 7, 8))
        for name in names:
            self.assertRaises(usage.UsageError, settings, f"--max_peer_{name}=0")

    def test_each_spelling(self) -> None:
        """``_`` or ``-``, ``=`` or a space, one dash or two."""
        for arguments in (
            ["--max_body=64KiB"],
            ["--max-body=64KiB"],
            ["--max_body", "64KiB"],
            ["--max-body", "64KiB"],
            ["-max_body=64KiB"],
        ):
            self.assertEqual(settings(*arguments).http.max_body, 65536)

    def test_before_and_after_the_word(self) -> None:
        """The word ``sidecar`` may stand anywhere, once."""
        found = settings("--enable_stats", "sidecar", "--port", "9000")
        self.assertTrue(found.enable_stats)
        self.assertEqual(found.listen.where, TcpPort(port=9000))
        self.assertRaises(usage.UsageError, settings, "sidecar", "sidecar")

    def test_switches(self) -> None:
        """A switch stands alone or with true or false, and does not eat the next word."""
        self.assertTrue(settings("--enable_stats", "sidecar").enable_stats)
        self.assertTrue(settings("--enable-stats=true").enable_stats)
        self.assertFalse(settings("--enable_stats=false").enable_stats)
        self.assertRaises(usage.UsageError, settings, "--enable_stats=maybe")

    def test_flag_beats_environment_beats_default(self) -> None:
        """And an empty variable counts as not set."""
        self.assertEqual(settings(env={"MICRO_CLIENT_RETRIES": "7"}).client.retries, 7)
        self.assertEqual(settings("--client_retries=2", env={"MICRO_CLIENT_RETRIES": "7"}).client.retries, 2)
        self.assertEqual(settings(env={"MICRO_CLIENT_RETRIES": ""}).client.retries, 1)

    def test_every_flag_has_its_variable(self) -> None:
        """``MICRO_<NAME>`` for all, and the sidecar's own names of 2018."""
        for flag in FLAGS:
            self.assertIn(f"MICRO_{flag.name.upper()}", flag.variables)
        for name in ("SERVER_NAME", "SERVER_ADDRESS", "HEALTHCHECK_URL", "ADDRESS"):
            self.assertIn(f"MICRO_SIDECAR_{name}", BY_NAME[name.lower()].variables)
        self.assertIn("MICRO_SIDECAR_CORS", BY_NAME["cors"].variables)

    def test_help_names_every_flag(self) -> None:
        """``--help`` shows each flag with its variable, and asks for nothing else."""
        text = str(self.assertRaises(TextAsked, settings, "--help").text)
        for flag in FLAGS:
            self.assertIn(f"--{flag.name}", text)
            self.assertIn(f"MICRO_{flag.name.upper()}", text)
        self.assertTrue(all(len(line) <= 120 for line in text.splitlines()))

    def test_days(self) -> None:
        """``d`` is a day in durations."""
        for text, seconds in (("1d", 86400.0), ("1d12h", 129600.0), ("0.5d", 43200.0)):
            self.assertEqual(settings(f"--client_request_timeout={text}").client.request_timeout, seconds)
        self.assertRaises(usage.UsageError, settings, "--client_request_timeout=1d2")

    def test_version(self) -> None:
        """``--version`` says what it is."""
        self.assertRegex(
            self.assertRaises(TextAsked, settings, "sidecar", "--version").text, r"^microsidecar \d+\.\d+\.\d+$"
        )


class FaultTests(SynchronousTestCase):
    def assert_fault(self, arguments: list[str], *words: str, env: Mapping[str, str] | None = None) -> None:
        said = str(self.assertRaises(usage.UsageError, settings, *arguments, env=env))
        for word in words:
            self.assertIn(word, said)
        self.assertNotIn("\n", said)

    def test_bad_values_name_flag_and_value(self) -> None:
        """One sentence each."""
        for argument in (
            "--port=99999",
            "--port=nonsense",
            "--address=127.0.0.1:x",
            "--address=::1:80x",
            "--healthcheck_interval=5x",
            "--healthcheck_interval=0",
            "--healthcheck_timeout=-1s",
            "--healthcheck_rise=0",
            "--healthcheck_url=ftp://x/",
            "--client_request_timeout=soon",
            "--client_retries=-1",
            "--client_retry=always",
            "--selector=best",
            "--max_body=4XB",
            "--register_ttl=-5",
            "--server_address=9090",
            "--server_metadata=novalue",
            "--server_protocol=soap",
            "--broker_slow=wait",
            "--http_channel=slow",
            "--sidecar_cors=example.com",
            "--registry=xyz",
            "--broker=xyz",
        ):
            name, _, value = argument.partition("=")
            self.assert_fault([argument], name, value)

    def test_faults_of_the_environment_name_the_variable(self) -> None:
        """So that they can be found."""
        self.assert_fault([], "MICRO_MAX_BODY=4XB", env={"MICRO_MAX_BODY": "4XB"})

    def test_unknown_engines_name_those_there_are(self) -> None:
        """From the entry points."""
        self.assert_fault(["--registry=zookeeper"], "zookeeper", "consul", "etcd", "mdns", "memory", "nats")
        self.assert_fault(["--broker=kafka"], "kafka", "http", "memory", "nats", "rabbitmq", "redis")
        self.assert_fault(["--registry=memory,memory"], "twice")

    def test_unknown_flags(self) -> None:
        """With the one that was meant, where it can be guessed."""
        self.assert_fault(["--regstry=memory"], "--regstry", "--registry")
        self.assert_fault(["--zzz"], "--zzz", "--help")
        self.assert_fault(["word"], "word")
        self.assert_fault(["--port"], "--port", "value")

    def test_flags_of_others_say_what_to_use_instead(self) -> None:
        """Every flag of micro and go-micro exists here or is answered."""
        for name in UNSUPPORTED:
            self.assert_fault([f"--{name}=x"], f"--{name}", UNSUPPORTED[name])
        self.assertFalse(set(UNSUPPORTED) & set(BY_NAME))

    def test_every_flag_of_the_original_is_known(self) -> None:
        """The flags of micro's binaries of 2016 to 2018, and of go-micro's."""
        original = """enable_tls tls_cert_file tls_key_file tls_client_ca_file api_address proxy_address sidecar_address
            web_address register_ttl register_interval api_handler api_namespace web_namespace api_cors web_cors
            sidecar_cors enable_stats enable_acme acme_hosts sidecar_handler sidecar_namespace
            server_name server_address
            healthcheck_url address cors handler namespace client client_request_timeout client_retries
            client_pool_size client_pool_ttl server_version server_id server_advertise server_metadata broker
            broker_address registry registry_address selector server transport transport_address profile runtime"""
        for name in original.split():
            self.assertTrue(name in BY_NAME or name in UNSUPPORTED, name)

    def test_secrets_are_not_shown(self) -> None:
        """A password never reaches a message or a printed setting."""
        found = settings("--registry=etcd", "--registry_password=hunter2", "--broker_token=hunter2")
        self.assertNotIn("hunter2", repr(found))
        self.assertEqual(found.registry.engines[0].password, "hunter2")


class GatewayTests(SynchronousTestCase):
    def test_namespaces(self) -> None:
        """An explicit one always wins, an empty one too."""
        for arguments, namespace in (
            ((), "go.micro.srv"),
            (("--sidecar_namespace=", "sidecar"), ""),
            (("sidecar", "--namespace="), ""),
            (("sidecar", "--namespace=com.example."), "com.example"),
            (("--sidecar_handler=rpc", "--namespace", "x", "sidecar"), "x"),
        ):
            self.assertEqual(settings(*arguments).gateway.namespace, namespace, arguments)
        self.assertEqual(settings(env={"MICRO_SIDECAR_NAMESPACE": "go.micro.api"}).gateway.namespace, "go.micro.api")
        self.assertEqual(settings(env={"MICRO_SIDECAR_NAMESPACE": ""}).gateway.namespace, "")
        for wrong in ("a b", "a/b", "a..b"):
            self.assertRaises(usage.UsageError, settings, f"--sidecar_namespace={wrong}")


class ListenTests(SynchronousTestCase):
    def where(self, *arguments: str, env: Mapping[str, str] | None = None) -> object:
        return settings(*arguments, env=env).listen.where

    def test_ports_and_addresses(self) -> None:
        """A number, an endpoint, a host with or without a port, every interface."""
        self.assertEqual(self.where("--port=9000"), TcpPort("127.0.0.1", 9000))
        self.assertEqual(self.where("--port=tcp:9000"), TcpPort("", 9000))
        self.assertEqual(self.where("--port=tcp:9000:interface=127.0.0.1"), TcpPort("127.0.0.1", 9000))
        self.assertEqual(self.where("--port=tcp:port=9000:interface=\\:\\:1"), TcpPort("::1", 9000))
        self.assertEqual(self.where("--port=unix:/run/x.sock"), EndpointPort("unix:/run/x.sock"))
        self.assertEqual(
            self.where("--port=systemd:domain=INET:name=api"), EndpointPort("systemd:domain=INET:name=api")
        )
        self.assertEqual(self.where("--address=0.0.0.0:9000"), TcpPort("0.0.0.0", 9000))
        self.assertEqual(self.where("--address=:9000"), TcpPort("", 9000))
        self.assertEqual(self.where("--address=[::1]:9000"), TcpPort("::1", 9000))
        self.assertEqual(self.where("--address=localhost"), TcpPort("localhost", 8081))
        self.assertEqual(self.where("--sidecar_address=:9000"), TcpPort("", 9000))

    def test_both(self) -> None:
        """They complete each other, or the louder one wins, or they must agree."""
        self.assertEqual(self.where("--address=0.0.0.0", "--port=9000"), TcpPort("0.0.0.0", 9000))
        self.assertEqual(self.where("--port=9000", env={"MICRO_SIDECAR_ADDRESS": ":7"}), TcpPort("127.0.0.1", 9000))
        self.assertEqual(self.where("--address=:9000", env={"MICRO_PORT": "7"}), TcpPort("", 9000))
        self.assertRaises(usage.UsageError, self.where, "--address=:9000", "--port=9001")


class ResolvingTests(SynchronousTestCase):
    def test_the_app(self) -> None:
        """Name and address make an app with an id of its own, which stays for ever in a memory that goes with us."""
        server = settings("--server_name=foo", "--server_address=127.0.0.1:9090").apps[0]
        self.assertRegex(server.id, r"^foo-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertEqual((server.host, server.port, server.ttl, server.interval), ("127.0.0.1", 9090, None, None))

    def test_half_an_app(self) -> None:
        """Either without the other is a fault, and so is a check of nothing."""
        for arguments in (
            ["--server_name=foo"],
            ["--server_address=127.0.0.1:9"],
            ["--healthcheck_url=http://127.0.0.1/"],
        ):
            self.assertRaises(usage.UsageError, settings, *arguments)

    def test_apps_in_engines_of_others_expire(self) -> None:
        """So that a crashed sidecar's app vanishes; the user may say otherwise."""
        app = ("--server_name=foo", "--server_address=127.0.0.1:9090", "--registry=consul")
        self.assertEqual((settings(*app).apps[0].ttl, settings(*app).apps[0].interval), (60.0, 30.0))
        self.assertIsNone(settings(*app, "--register_ttl=0").apps[0].ttl)
        named = settings(*app, "--register_ttl=10", "--register_interval=2s").apps[0]
        self.assertEqual((named.ttl, named.interval), (10.0, 2.0))
        self.assertRaises(usage.UsageError, settings, *app, "--register_ttl=10", "--register_interval=10")

    def test_metadata(self) -> None:
        """Repeated, or by comma; values may hold commas and equal signs."""
        app = ("--server_name=foo", "--server_address=127.0.0.1:9090")
        server = settings(*app, "--server_metadata=a=1", "--server-metadata", "b=2,3=x,c=").apps[0]
        self.assertEqual(dict(server.metadata), {"a": "1", "b": "2", "3": "x", "c": ""})

    def test_tls(self) -> None:
        """Two files make TLS; one is a fault; paths may hold colons."""
        files = ("--tls_cert_file=/c:d/cert.pem", "--tls_key_file=/c:d/key.pem")
        self.assertEqual(settings(*files, "--enable_tls").tls.cert_file, "/c:d/cert.pem")
        self.assertTrue(settings(*files).tls.enabled)
        self.assertFalse(settings(*files, "--enable_tls=false").tls.enabled)
        for arguments in (["--enable_tls"], [files[0]], ["--tls_client_ca_file=/x"]):
            self.assertRaises(usage.UsageError, settings, *arguments)

    def test_tls_to_nodes(self) -> None:
        """It is for nodes that say so unless a flag says otherwise; a certificate needs its key."""
        self.assertEqual(settings().client.tls, NodeTlsSettings("auto"))
        pair = ("--rpc_tls_cert_file=/c", "--rpc_tls_key_file=/k")
        found = settings("--rpc_tls=require", "--rpc_tls_ca_file=/a", *pair).client.tls
        self.assertEqual(found, NodeTlsSettings("require", "/a", "/c", "/k"))
        for arguments in (["--rpc_tls=on"], [pair[0]], [pair[1]]):
            self.assertRaises(usage.UsageError, settings, *arguments)

    def test_tls_for_the_app(self) -> None:
        """The port at which we answer for an app speaks TLS by two files; it is the app's own affair elsewhere."""
        app = ("--server_name=foo", "--server_address=127.0.0.1:9090")
        pair = ("--server_tls_cert_file=/c", "--server_tls_key_file=/k")
        (found,) = settings(*app, "--server_protocol=http", *pair).apps
        self.assertEqual(found.tls, TlsSettings(True, "/c", "/k"))
        for arguments in (pair, ("--server_protocol=http", pair[0]), ("--server_protocol=http", pair[1])):
            self.assertRaises(usage.UsageError, settings, *app, *arguments)

    def test_engines(self) -> None:
        """Addresses go to all, or to the one that they name; the engines' own variables are heeded."""
        found = settings("--registry=consul,etcd", "--registry_address=consul=a:1,etcd=b:2,etcd=c:3").registry.engines
        self.assertEqual([engine.addresses for engine in found], [("a:1",), ("b:2", "c:3")])
        found = settings("--registry=consul", "--registry_address=http://c:1/?a=b").registry.engines
        self.assertEqual(found[0].addresses, ("http://c:1/?a=b",))
        env = {"CONSUL_HTTP_ADDR": "https://c:8501", "CONSUL_HTTP_TOKEN": "t", "ETCD_USERNAME": "u"}
        consul, etcd = settings("--registry=consul,etcd", env=env).registry.engines
        self.assertEqual((consul.addresses, consul.token, consul.username), (("https://c:8501",), "t", ""))
        self.assertEqual((etcd.addresses, etcd.username, etcd.token), ((), "u", ""))
        self.assertRaises(usage.UsageError, settings, "--registry=consul", "--registry_address=etcd=x:1")
        url = "amqp://me:pass=word@rabbit:5672"
        self.assertEqual(settings("--broker=rabbitmq", f"--broker_address={url}").broker.engine.addresses, (url,))

    def test_the_http_broker_listens(self) -> None:
        """Its address is its own, as in go-micro."""
        engine = settings("--broker=http", "--broker_address=127.0.0.1:9095").broker.engine
        self.assertEqual((engine.listen, engine.addresses), ("127.0.0.1:9095", ()))
