"""The port is ours before anything else happens, or there is one sentence that says why not."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.daemon.certificates import Certificates
from sidecar.daemon.cmdline.settings import EndpointPort, ListenSettings, TcpPort, TlsSettings
from sidecar.daemon.listening import BoundPort, bind
from sidecar.errors import ConfigError
from sidecar.test.doubles.certificates import authority


class Greeter(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class ListeningTests(TestCase):
    def listener(self, where: TcpPort | EndpointPort, tls: TlsSettings | None = None) -> BoundPort:
        listener = bind(ListenSettings(where), None if tls is None else Certificates(tls), reactor)
        service = listener.service(Factory.forProtocol(Greeter))
        service.startService()
        self.addCleanup(service.stopService)
        return listener

    def home(self, name: str) -> Path:
        home = Path(self.mktemp()) / name
        home.mkdir(parents=True)
        return home

    async def greeting(self, port: int, host: str = "127.0.0.1") -> bytes:
        def ask() -> bytes:
            with socket.create_connection((host, port), timeout=30) as sock:
                return sock.recv(100)

        return await deferToThread(ask)

    async def test_a_port_of_its_own(self) -> None:
        """Port 0 takes a free one and says which."""
        listener = self.listener(TcpPort("127.0.0.1", 0))
        self.assertEqual(listener.url, f"http://127.0.0.1:{listener.port}")
        self.assertEqual(await self.greeting(listener.port), b"hello")

    async def test_every_interface(self) -> None:
        """No host means all of them, IPv4 among them."""
        self.assertEqual(await self.greeting(self.listener(TcpPort("", 0)).port), b"hello")

    async def test_a_name(self) -> None:
        """A host name is taken at its address."""
        self.assertEqual(await self.greeting(self.listener(TcpPort("localhost", 0)).port), b"hello")

    async def test_early_callers_wait(self) -> None:
        """Who connects between binding and accepting is served, not refused."""
        listener = bind(ListenSettings(TcpPort("127.0.0.1", 0)), None, reactor)
        greeting = Deferred.fromCoroutine(self.greeting(listener.port))
        service = listener.service(Factory.forProtocol(Greeter))
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(await greeting, b"hello")

    async def test_unix_socket(self) -> None:
        """An endpoint string opens whatever Twisted can."""
        path = f"{self.mktemp()}.sock"
        listener = self.listener(EndpointPort(f"unix:{path}"))
        self.assertEqual(listener.port, 0)

        def ask() -> bytes:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(30)
                sock.connect(path)
                return sock.recv(100)

        self.assertEqual(await deferToThread(ask), b"hello")

    async def test_endpoint_with_other_arguments(self) -> None:
        """A TCP endpoint that says more than we read is left to Twisted."""
        listener = self.listener(EndpointPort("tcp:0:interface=127.0.0.1:backlog=5"))
        self.assertRegex(listener.url, r"^http://127\.0\.0\.1:\d+$")

    async def test_tls(self) -> None:
        """The chain is shown, TLS 1.2 or newer is spoken, nothing older; colons in paths are no matter."""
        home = self.home("a:b")
        issuer = authority(home)
        listener = self.listener(TcpPort("127.0.0.1", 0), TlsSettings(True, *issuer.issue("server")))
        self.assertTrue(listener.url.startswith("https://"))
        context = ssl.create_default_context(cafile=issuer.ca_file)
        self.assertEqual(await self.tls_greeting(listener, context), b"hello")
        old = ssl.create_default_context(cafile=issuer.ca_file)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, OSError)):
            await self.tls_greeting(listener, old)

    async def test_tls_endpoint(self) -> None:
        """Twisted's own ``ssl:`` endpoint serves callers that offer a choice of protocols, as curl and browsers do."""
        home = self.home("plain")
        issuer = authority(home)
        certificate, key = issuer.issue("server")
        listener = self.listener(EndpointPort(f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"))
        number = listener.url.rpartition(":")[2]
        self.assertEqual(listener.url, f"https://127.0.0.1:{number}")
        context = ssl.create_default_context(cafile=issuer.ca_file)
        context.set_alpn_protocols(["h2", "http/1.1"])
        self.assertEqual(await self.tls_greeting(listener, context, int(number)), b"hello")

    async def test_in_the_clear(self) -> None:
        """A request that comes without TLS is told to come with it, and the next connection is served."""
        issuer = authority(self.home("plain"))
        listener = self.listener(TcpPort("127.0.0.1", 0), TlsSettings(True, *issuer.issue("server")))

        def ask() -> bytes:
            with socket.create_connection(("127.0.0.1", listener.port), timeout=30) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                with sock.makefile("rb") as file:
                    return file.read()

        answer = await deferToThread(ask)
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer)
        self.assertIn(b"https://", answer)
        context = ssl.create_default_context(cafile=issuer.ca_file)
        self.assertEqual(await self.tls_greeting(listener, context), b"hello")

    async def test_client_certificates(self) -> None:
        """With a client authority only those whom it signed are served."""
        issuer = authority(self.home("plain"))
        tls = TlsSettings(True, *issuer.issue("server"), issuer.ca_file)
        listener = self.listener(TcpPort("127.0.0.1", 0), tls)
        context = ssl.create_default_context(cafile=issuer.ca_file)
        with self.assertRaises((ssl.SSLError, OSError)):
            await self.tls_greeting(listener, context)
        context.load_cert_chain(*issuer.issue("client"))
        self.assertEqual(await self.tls_greeting(listener, context), b"hello")

    async def tls_greeting(self, listener: BoundPort, context: ssl.SSLContext, port: int = 0) -> bytes:
        def ask() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", port or listener.port), timeout=30) as sock,
                context.wrap_socket(sock, server_hostname="localhost") as secure,
            ):
                return secure.recv(100)

        return await deferToThread(ask)


class FaultTests(SynchronousTestCase):
    def assert_fault(self, where: TcpPort | EndpointPort, *words: str) -> None:
        said = str(self.assertRaises(ConfigError, bind, ListenSettings(where), None, reactor))
        for word in words:
            self.assertIn(word, said)
        self.assertNotIn("\n", said)

    def test_busy(self) -> None:
        """A port that somebody has, whichever way it is asked for."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port: Any = other.getsockname()[1]
            self.assert_fault(TcpPort("127.0.0.1", port), str(port), "in use")
            self.assert_fault(TcpPort("", port), str(port), "in use")
            self.assert_fault(EndpointPort(f"tcp:{port}:interface=127.0.0.1:backlog=5"), str(port), "in use")

    def test_not_ours(self) -> None:
        """Addresses of others, and names of nobody."""
        self.assert_fault(TcpPort("192.0.2.1", 0), "192.0.2.1")
        self.assert_fault(TcpPort("name.invalid", 0), "name.invalid")

    def test_no_endpoint(self) -> None:
        """Strings that Twisted knows nothing to do with."""
        self.assert_fault(EndpointPort("carrier-pigeon:1"), "carrier-pigeon")
        self.assert_fault(EndpointPort("unix:/no/such/place/x.sock"), "/no/such/place/x.sock")
        self.assert_fault(EndpointPort("systemd:domain=INET:name=api"), "systemd")


class CertificateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir(parents=True)
        self.issuer = authority(self.home)
        self.cert, self.key = self.issuer.issue("server")

    def assert_fault(self, cert: str, key: str, client_ca: str, *words: str) -> None:
        said = str(self.assertRaises(ConfigError, Certificates, TlsSettings(True, cert, key, client_ca)))
        for word in words:
            self.assertIn(word, said)
        self.assertNotIn("\n", said)

    def nonsense(self) -> str:
        path = self.home / "nonsense.pem"
        path.write_text("nonsense")
        return str(path)

    def test_faults(self) -> None:
        """Each names its flag, its file and what is wrong."""
        other = self.issuer.issue("other")[1]
        self.assert_fault("/no/cert", self.key, "", "--tls_cert_file=/no/cert", "No such file")
        self.assert_fault(self.cert, "/no/key", "", "--tls_key_file=/no/key", "No such file")
        self.assert_fault(self.nonsense(), self.key, "", "--tls_cert_file", "PEM")
        self.assert_fault(self.cert, self.nonsense(), "", "--tls_key_file", "PEM")
        self.assert_fault(self.cert, other, "", "--tls_key_file", "not the key")
        self.assert_fault(self.cert, self.key, self.nonsense(), "--tls_client_ca_file", "PEM")
        self.assert_fault(*self.issuer.issue("old", days=-1), "", "--tls_cert_file", "expired")

    def test_reload_keeps_what_works(self) -> None:
        """Bad files on a reload change nothing; good ones are used."""
        settings = TlsSettings(True, self.cert, self.key)
        certificates = Certificates(settings)
        Path(self.cert).write_text("half a file")
        self.assertRaises(ConfigError, certificates.read, settings)
        certificates.serverConnectionForTLS(None)
        self.issuer.issue("server")
        certificates.use(certificates.read(settings))
