"""The configuration file says what flags say and more; every fault names its line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.cmdline import configfile
from sidecar.daemon.cmdline.flags import FLAGS
from sidecar.daemon.cmdline.options import Options
from sidecar.daemon.cmdline.settings import AppSettings, CheckSettings, TcpPort, TlsSettings
from sidecar.test.doubles.programs.process import not_installed

# Backends are found by their entry points, and settings are read against those there are.
skip = not_installed()

APPS = """
port = 9000
registry = ["memory", "consul"]

[[app]]
name = "shop"
address = "127.0.0.1:9090"
version = "1.2"
metadata = { zone = "a", note = "x,y=z" }
endpoints = ["Shop.Buy;description=Buys;stream=true", { name = "Shop.Sell", metadata = { fee = "1" } }]
protocol = "http"
ttl = "90s"

[[app.check]]
name = "shop web"
http = "https://127.0.0.1:9090/ok"
status = [200, 204]
body = "fine"
header = { X-Shop = "open" }
ca_file = "/ca.pem"
interval = "1d"
timeout = 2
rise = 2
fall = 3
initial = "warn"
critical_after = "1m"

[[app.check]]
name = "shop beats"
ttl = "30s"

[[app]]
name = "stock"
address = ":9091"
id = "stock-1"

[[app.check]]
name = "stock port"
tcp = "my_db:5432"

[[app.check]]
name = "stock grpc"
grpc = "127.0.0.1:9091/stock.Stock"

[[app.check]]
name = "stock script"
script = "/bin/check 'two words'"

[[app.check]]
name = "stock unit"
systemd = "stock.service"
"""


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()

    def parsed(self, text: str, *flags: str, env: Mapping[str, str] | None = None) -> Options:
        path = self.home / "sidecar.toml"
        path.write_text(text)
        options = Options(env or {})
        options.parseOptions([f"--config={path}", *flags])
        return options

    def assert_fault(self, text: str, *words: str) -> None:
        said = str(self.assertRaises(usage.UsageError, self.parsed, text))
        for word in words:
            self.assertIn(word, said)
        self.assertNotIn("\n", said)

    def test_order(self) -> None:
        """File beats default, environment beats file, flag beats environment."""
        text = "client_retries = 3\nmax-body = '1MiB'\nenable_stats = true\n"
        self.assertEqual(self.parsed(text).settings.client.retries, 3)
        self.assertEqual(self.parsed(text).settings.http.max_body, 1024 * 1024)
        self.assertTrue(self.parsed(text).settings.enable_stats)
        env = {"MICRO_CLIENT_RETRIES": "4"}
        self.assertEqual(self.parsed(text, env=env).settings.client.retries, 4)
        self.assertEqual(self.parsed(text, "--client_retries=5", env=env).settings.client.retries, 5)

    def test_every_flag_is_a_key(self) -> None:
        """Those that have a default can be written with it."""
        lines = [
            f"{flag.name} = {flag.default if flag.switch else repr(flag.default)}" for flag in FLAGS if flag.default
        ]
        without = Options({})
        without.parseOptions(["--config=none"])
        text = "\n".join(line for line in lines if not line.startswith("address"))
        self.assertEqual(self.parsed(text).settings.http, without.settings.http)

    def test_apps_and_checks(self) -> None:
        """Several apps with several checks of each kind."""
        settings = self.parsed(APPS).settings
        self.assertEqual(settings.listen.where, TcpPort(port=9000))
        self.assertEqual([engine.kind for engine in settings.registry.engines], ["memory", "consul"])
        shop, stock = settings.apps
        self.assertEqual((shop.name, shop.version, shop.host, shop.port), ("shop", "1.2", "127.0.0.1", 9090))
        self.assertEqual(dict(shop.metadata), {"zone": "a", "note": "x,y=z"})
        self.assertEqual([one.name for one in shop.endpoints], ["Shop.Buy", "Shop.Sell"])
        self.assertEqual(dict(shop.endpoints[0].metadata), {"description": "Buys", "stream": "true"})
        self.assertEqual(dict(shop.endpoints[1].metadata), {"fee": "1"})
        self.assertEqual((shop.protocol, shop.ttl, shop.interval), ("http", 90.0, 45.0))
        web, beats = shop.checks
        self.assertEqual(
            web,
            CheckSettings(
                *("shop web", "http", "https://127.0.0.1:9090/ok"),
                status=(200, 204),
                body="fine",
                header=(("X-Shop", "open"),),
                ca_file="/ca.pem",
                interval=86400.0,
                timeout=2.0,
                rise=2,
                fall=3,
                initial="warn",
                critical_after=60.0,
            ),
        )
        self.assertEqual((beats.kind, beats.ttl), ("ttl", 30.0))
        self.assertEqual((stock.id, stock.host), ("stock-1", ""))
        self.assertEqual([check.kind for check in stock.checks], ["tcp", "grpc", "script", "systemd"])
        self.assertEqual(stock.checks[2].command, ("/bin/check", "two words"))

    def test_an_app_behind_tls(self) -> None:
        """The port at which we answer for an app speaks TLS by two files, and asks for certificates by a third."""
        app = "[[app]]\nname='a'\naddress='127.0.0.1:1'\n"
        files = "tls_cert_file='/c'\ntls_key_file='/k'\ntls_client_ca_file='/a'\n"
        (found,) = self.parsed(f"{app}protocol='http'\n{files}").settings.apps
        self.assertEqual(found.tls, TlsSettings(True, "/c", "/k", "/a"))
        self.assert_fault(f"{app}{files}", "line 1", "tls_", "http")
        self.assert_fault(f"{app}protocol='http'\ntls_cert_file='/c'\n", "line 1", "tls_key_file is missing")

    def test_an_app_of_flags_beside(self) -> None:
        """Flags name one more."""
        flags = ("--server_name=one", "--server_address=127.0.0.1:1")
        found = self.parsed('[[app]]\nname = "two"\naddress = "127.0.0.1:2"\n', *flags).settings.apps
        self.assertEqual([app.name for app in found], ["one", "two"])

    def test_faults_name_line_and_nearest(self) -> None:
        """Of keys at the top, of apps, of checks; of values too."""
        self.assert_fault("port = 1\nregstry = 'x'\n", "sidecar.toml line 2", "regstry", "did you mean registry?")
        self.assert_fault("\n\nport = 99999\n", "line 3", "port", "99999")
        self.assert_fault("[[app]]\nname='a'\naddress='x:1'\nversoin='1'\n", "line 4", "did you mean version?")
        app = "[[app]]\nname='a'\naddress='127.0.0.1:1'\n"
        self.assert_fault(f"{app}[[app.check]]\nname='c'\nhttp='http://x/'\nintervall='1s'\n", "line 7", "interval?")
        self.assert_fault(f"{app}[[app.check]]\nname='c'\nhttp='ftp://x/'\n", "line 6", "http=ftp://x/")
        self.assert_fault(f"{app}[[app.check]]\nname='c'\n", "line 4", "http, tcp, ttl, grpc, script, systemd")
        self.assert_fault(f"{app}[[app.check]]\nname='c'\ntcp='x:1'\nttl='1s'\n", "tcp and ttl")
        self.assert_fault(f"{app}[[app.check]]\ntcp='x:1'\n", "line 4", "no name")
        check = "[[app.check]]\nname='c'\ntcp='x:1'\n"
        self.assert_fault(f"{app}{check}{check}", "line 8", "another check")
        self.assert_fault("[[app]]\nname='a'\n", "line 1", "address")
        self.assert_fault("\napp = [{ name = 'a', address = '127.0.0.1:1', verson = '1' }]\n", "line 2", "version?")
        self.assert_fault("app = 'x'\n", "line 1", "[[app]]")
        self.assert_fault("enable_acme = true\n", "line 1", "certbot")
        self.assert_fault("port = 1\nport = 2\n", "not TOML", "line 2")
        self.assert_fault("max_body = '1MiB'\nmax-body = '2MiB'\n", "line 2", "twice")
        self.assert_fault("port = [1]\n", "line 1", "a list")
        self.assert_fault("tls_cert_file = '/x'\n", "--tls_key_file")
        self.assert_fault("server_name = 'x'\n", "sidecar.toml line 1: server_name=x", "--server_address")

    def test_no_such_file(self) -> None:
        """A file that was named has to be there; nothing is read where none is named and none is there."""
        options = Options({})
        error = self.assertRaises(usage.UsageError, options.parseOptions, ["--config=/no/such.toml"])
        self.assertIn("--config=/no/such.toml", str(error))

    def test_where_it_is_looked_for(self) -> None:
        """``$XDG_CONFIG_HOME``, else ``~/.config``, then ``/etc``; ``none`` is none."""
        there = {"/x/microsidecar/sidecar.toml", "/h/.config/microsidecar/sidecar.toml"}
        for named, env, expected in (
            ("/y.toml", {"XDG_CONFIG_HOME": "/x"}, "/y.toml"),
            ("", {"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/microsidecar/sidecar.toml"),
            ("", {"HOME": "/h"}, "/h/.config/microsidecar/sidecar.toml"),
            ("", {"HOME": "/other"}, ""),
            ("none", {"XDG_CONFIG_HOME": "/x"}, ""),
        ):
            self.assertEqual(configfile.find(named, env, there.__contains__), expected)
        self.assertEqual(configfile.find("", {}, lambda path: True), "/etc/microsidecar/sidecar.toml")

    def test_lines(self) -> None:
        """Keys are found in tables, lists of tables and beside strings of several lines."""
        found = configfile.lines(
            'a = """\nb = 1\n"""\nc = 2\n[t]\n"d e" = 3\n[[x]]\ny = 1\n[[x.z]]\nw.v = 2\n[[x]]\ny = 3\n'
        )
        self.assertEqual(found[("c",)], 4)
        self.assertNotIn(("b",), found)
        self.assertEqual(found[("t", "d e")], 6)
        self.assertEqual(found[("x", 0, "z", 0, "w", "v")], 10)
        self.assertEqual(found[("x", 1, "y")], 12)

    def test_ids_stay(self) -> None:
        """What is read again has the ids that were made before."""
        options = self.parsed(APPS)
        self.assertEqual(options.again().settings, options.settings)

    def test_what_needs_a_restart(self) -> None:
        """It is named, as the user named it."""
        options = self.parsed("port = 1\nenable_stats = true\n")
        (self.home / "sidecar.toml").write_text("port = 2\nserver_name='a'\nserver_address='127.0.0.1:1'\n")
        (port, stats) = options.changed(options.again())
        self.assertIn("line 1: port", port)
        self.assertIn("enable_stats", stats)


class SecretTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()

    def file(self, name: str, text: str) -> str:
        path = self.home / name
        path.write_text(text)
        return str(path)

    def password(self, *flags: str, env: Mapping[str, str] | None = None) -> str:
        options = Options(env or {})
        options.parseOptions(["--config=none", "--registry=etcd", *flags])
        return options.settings.registry.engines[0].password

    def test_from_a_file(self) -> None:
        """``--registry_password_file`` names it; the newline at its end is none of it."""
        path = self.file("secret", "hunter2\n")
        self.assertEqual(self.password(f"--registry_password_file={path}"), "hunter2")
        self.assertEqual(self.password(env={"MICRO_REGISTRY_PASSWORD_FILE": path}), "hunter2")
        env = {"MICRO_REGISTRY_PASSWORD_FILE": path}
        self.assertEqual(self.password("--registry_password=other", env=env), "other")

    def test_from_systemd(self) -> None:
        """A file called like the flag in ``$CREDENTIALS_DIRECTORY`` counts where nothing else was said."""
        self.file("registry_password", "from systemd")
        env = {"CREDENTIALS_DIRECTORY": str(self.home)}
        self.assertEqual(self.password(env=env), "from systemd")
        self.assertEqual(self.password("--registry_password=said", env=env), "said")
        self.assertEqual(self.password(env={"CREDENTIALS_DIRECTORY": "/no/such"}), "")

    def test_faults(self) -> None:
        """Files that cannot be read or hold nothing, and secrets that are said twice; none is shown."""
        path = self.file("secret", "hunter2\n")
        for flags, words in (
            (["--registry_password_file=/no/such"], "/no/such"),
            ([f"--registry_password_file={self.file('empty', chr(10))}"], "empty"),
            ([f"--registry_password_file={path}", "--registry_password=x"], "--registry_password_file"),
        ):
            said = str(self.assertRaises(usage.UsageError, self.password, *flags))
            self.assertIn(words, said)
            self.assertNotIn("hunter2", said)


class AppTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Name and address are enough."""
        path = os.path.join(self.mktemp())
        with open(path, "w") as file:
            file.write('[[app]]\nname = "a"\naddress = "127.0.0.1:1"\n')
        options = Options({})
        options.parseOptions([f"--config={path}"])
        (app,) = options.settings.apps
        self.assertEqual(app, AppSettings("a", app.id, host="127.0.0.1", port=1, made_id=True))
