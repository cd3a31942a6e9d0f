"""The agent for cold paths: deadlines over everything, caps as bytes come, streams, TLS, over real sockets."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor, ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sidecar.net.client.fetcher import Fetcher, Response
from sidecar.net.client.tls import TrustOptions, TrustPolicy
from sidecar.net.errors import InvalidSetting, RequestFailed, RequestTimeout
from sidecar.test.doubles.names import NamedReactor

#: Its full set of interfaces is not in its type.
LOOP: Any = reactor


class Scripted(Protocol):
    """A server that answers each request with the next bytes of a script, whatever was asked."""

    factory: ScriptedFactory
    transport: Any

    def connectionMade(self) -> None:
        self.factory.connections.append(self)
        self.closed: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.factory.requests.append(data)
        answer = self.factory.script
        if answer is not None:
            self.transport.write(answer)
            if b"Connection: close" in answer:
                self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.closed.callback(None)


class ScriptedFactory(Factory):
    protocol: Any = Scripted
    noisy = False

    def __init__(self) -> None:
        self.script: bytes | None = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Index: 7\r\n\r\nhi"
        self.requests: list[bytes] = []
        self.connections: list[Scripted] = []


class AgentTest(TestCase):
    tls: TrustOptions | None = None
    scheme = "http"

    def setUp(self) -> None:
        self.server = ScriptedFactory()
        self.port = self.listen()
        self.addCleanup(self.port.stopListening)
        self.agent = Fetcher(reactor, timeout=10.0, max_body=1000, tls=self.tls)
        self.addCleanup(self._leave)
        self.url = f"{self.scheme}://127.0.0.1:{self.port.getHost().port}/x"

    def listen(self) -> Any:
        return LOOP.listenTCP(0, self.server, interface="127.0.0.1")

    async def _leave(self) -> None:
        await self.agent.close()
        for connection in self.server.connections:
            if not connection.closed.called:
                connection.transport.abortConnection()
                await connection.closed
        await deferLater(reactor, 0.05)

    async def failing(self, error: type[Exception], **options: Any) -> str:
        try:
            await self.agent.request("GET", self.url, **options)
        except error as found:
            return str(found)
        raise AssertionError("it was answered")


class Requests(AgentTest):
    async def test_get(self) -> None:
        """An answer comes with status, headers and body; connections are used again."""
        for _ in range(3):
            found = await self.agent.request("GET", self.url, {"X-Token": "t"})
            self.assertEqual((found.status, found.body, found.header("x-index")), (200, b"hi", "7"))
        self.assertIsInstance(found, Response)
        self.assertIn(b"X-Token: t\r\n", self.server.requests[0])
        self.assertNotIn(b"gzip", self.server.requests[0])
        self.assertEqual(len(self.server.connections), 1)

    async def test_hosts(self) -> None:
        """Every host that a machine may have is asked, and told its own name: as Docker Compose calls it, with a dash
        before it, in capitals, and an IPv6 address."""
        number = self.port.getHost().port
        self.agent = Fetcher(NamedReactor(["127.0.0.1"]))
        for host in ("my_app", "-app", "app-", "a_b.c-d_", "My_App", "127.0.0.1"):
            await self.agent.request("GET", f"http://{host}:{number}/ok?a={{}}%7B#part")
            self.assertIn(f"Host: {host.lower()}:{number}\r\n".encode(), self.server.requests[-1])
            self.assertTrue(self.server.requests[-1].startswith(b"GET /ok?a=%7B%7D%7B HTTP/1.1\r\n"))
        port: Any = LOOP.listenTCP(0, self.server, interface="::1")
        self.addCleanup(port.stopListening)
        await self.agent.request("GET", f"http://[::1]:{port.getHost().port}")
        self.assertIn(f"Host: [::1]:{port.getHost().port}\r\n".encode(), self.server.requests[-1])
        self.assertTrue(self.server.requests[-1].startswith(b"GET / HTTP/1.1\r\n"))

    async def test_no_host(self) -> None:
        """What is no host is told in words."""
        for self.url in ("http://a b/", "http://a,b/", "http:///x", "http://[::1/", "http://a:0/", "ftp://a/"):
            said = await self.failing(RequestFailed)
            self.assertRegex(said, "host|Invalid|port|ftp")

    async def test_put(self) -> None:
        """A body goes along with its length; an empty one says so."""
        await self.agent.request("PUT", self.url, body=b'{"a":1}')
        self.assertIn(b"Content-Length: 7\r\n", self.server.requests[0])
        self.assertTrue(b"".join(self.server.requests).endswith(b'{"a":1}'))
        await self.agent.request("PUT", self.url)
        self.assertIn(b"Content-Length: 0\r\n", self.server.requests[-1])

    async def test_redirect_is_an_answer(self) -> None:
        """A redirect is not followed."""
        self.server.script = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
        self.assertEqual((await self.agent.request("GET", self.url)).status, 302)

    async def test_no_headers(self) -> None:
        """A server that says nothing is given up on at the deadline, and its connection closed."""
        self.server.script = None
        self.assertIn("no answer within 0.2 s", await self.failing(RequestTimeout, timeout=0.2))
        await self.server.connections[0].closed

    async def test_stalled_body(self) -> None:
        """So is one that stops in the middle of a body."""
        self.server.script = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nonly this"
        self.assertIn("no answer within 0.2 s", await self.failing(RequestTimeout, timeout=0.2))
        await self.server.connections[0].closed

    async def test_too_large(self) -> None:
        """A body over the cap is refused, and the connection closed."""
        self.server.script = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 1200
        self.assertIn("larger than 1000 bytes", await self.failing(RequestFailed))
        await self.server.connections[0].closed

    async def test_broken_off(self) -> None:
        """A body that ends too soon is no answer."""
        self.server.script = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\nonly this"
        self.assertIn("broke off", await self.failing(RequestFailed))

    async def test_not_http(self) -> None:
        """Neither is something that is not HTTP."""
        self.server.script = b"SSH-2.0-x\r\nConnection: close\r\n\r\n"
        self.assertTrue((await self.failing(RequestFailed)).startswith(f"GET {self.url}: "))

    async def test_refused(self) -> None:
        """Nobody there: the message names what was asked, and says so."""
        await self.port.stopListening()
        self.assertIn("refused", await self.failing(RequestFailed))

    async def test_bad_url(self) -> None:
        """A URL that is none fails like a request, in words."""
        for url in ("ftp://127.0.0.1/", "http://127.0.0.1:99999/", "nonsense"):
            self.url = url
            self.assertTrue(await self.failing(RequestFailed))

    async def test_cancel_at_any_time(self) -> None:
        """Cancelling is cancelling, whether the name is being looked up, the connection made, or an answer awaited."""
        self.server.script = None
        for seconds in (0.0, 0.0002, 0.001, 0.01):
            asking = Deferred.fromCoroutine(self.agent.request("GET", self.url))
            await deferLater(reactor, seconds)
            asking.cancel()
            await self.assertFailure(asking, CancelledError)

    async def test_cancel(self) -> None:
        """Cancelling closes the connection."""
        self.server.script = None
        asking = Deferred.fromCoroutine(self.agent.request("GET", self.url))
        while not self.server.requests:
            await deferLater(reactor, 0.01)
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        await self.server.connections[0].closed


class Streams(AgentTest):
    async def test_chunks(self) -> None:
        """A stream is handed on as it comes, until it ends."""
        self.server.script = (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
        seen: list[bytes] = []
        await self.agent.stream("POST", self.url, seen.append, body=b"{}")
        self.assertEqual(b"".join(seen), b"abc")

    async def test_status(self) -> None:
        """A refusal is a failure that quotes it."""
        self.server.script = b"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\nbad \nx"
        with self.assertRaises(RequestFailed) as caught:
            await self.agent.stream("GET", self.url, lambda chunk: None)
        self.assertIn("answered 403: bad x", str(caught.exception))

    async def test_cancel(self) -> None:
        """Cancelling an endless stream closes its connection."""
        self.server.script = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
        seen: list[bytes] = []
        streaming = Deferred.fromCoroutine(self.agent.stream("GET", self.url, seen.append, timeout=0.3))
        while not seen:
            await deferLater(reactor, 0.01)
        await deferLater(reactor, 0.5)
        self.assertFalse(streaming.called)  # the deadline is for the headers only
        streaming.cancel()
        await self.assertFailure(streaming, CancelledError)
        await self.server.connections[0].closed

    async def test_receiver_fails(self) -> None:
        """What the receiver raises ends the stream and is raised on."""
        self.server.script = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"

        def receive(chunk: bytes) -> None:
            raise KeyError("mine")

        with self.assertRaises(KeyError):
            await self.agent.stream("GET", self.url, receive)
        await self.server.connections[0].closed


def make_authority(home: Path) -> TrustOptions:
    """A self-signed certificate for 127.0.0.1 and my_app, and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    hosts = [x509.DNSName("my_app"), x509.DNSName("*.my_net.internal")]
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *hosts]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    home.mkdir(parents=True, exist_ok=True)
    cert_file, key_file = home / "cert.pem", home / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return TrustOptions(str(cert_file), str(cert_file), str(key_file))


class Secure(AgentTest):
    scheme = "https"

    def setUp(self) -> None:
        self.tls = make_authority(Path(self.mktemp()))
        super().setUp()

    def listen(self) -> Any:
        assert self.tls is not None
        pem = Path(self.tls.cert_file).read_bytes() + Path(self.tls.key_file).read_bytes()
        own = ssl.PrivateCertificate.loadPEM(pem)
        return LOOP.listenSSL(0, self.server, own.options(), interface="127.0.0.1")

    async def test_trusted(self) -> None:
        """A server whose certificate is signed by the given authority is talked to."""
        self.assertEqual((await self.agent.request("GET", self.url)).body, b"hi")

    async def test_names(self) -> None:
        """A name that the Internet's rules do not allow is checked against the certificate like any other."""
        number = self.port.getHost().port
        self.agent = Fetcher(NamedReactor(["127.0.0.1"]), tls=self.tls)
        for host in ("my_app", "one.my_net.internal"):
            self.assertEqual((await self.agent.request("GET", f"https://{host}:{number}/")).body, b"hi")
        for host in ("your_app", "my_net", "a.b.my_net.internal", "app-"):
            with self.assertRaises(RequestFailed):
                await self.agent.request("GET", f"https://{host}:{number}/")
        stranger = Fetcher(NamedReactor(["127.0.0.1"]), tls=None)
        with self.assertRaises(RequestFailed):
            await stranger.request("GET", f"https://my_app:{number}/")

    async def test_stranger(self) -> None:
        """One that is not is refused."""
        stranger = Fetcher(reactor, tls=None)
        with self.assertRaises(RequestFailed):
            await stranger.request("GET", self.url)

    async def test_hanging_goodbye(self) -> None:
        """A server that stalls does not keep its connection, though TLS would wait for its goodbye."""
        self.server.script = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nonly this"
        await self.failing(RequestTimeout, timeout=0.5)
        await self.server.connections[0].closed


class Policies(SynchronousTestCase):
    def test_bad_files(self) -> None:
        """Files that cannot be used are named before any connection is made."""
        place = Path(self.mktemp())
        place.write_text("nonsense")
        for trust in (
            TrustOptions(ca_file="/nonexistent"),
            TrustOptions(ca_file=str(place)),
            TrustOptions(cert_file=str(place)),
            TrustOptions(cert_file=str(place), key_file="/nonexistent"),
        ):
            error = self.assertRaises(InvalidSetting, TrustPolicy, trust)
            self.assertTrue(str(place) in str(error) or "/nonexistent" in str(error), error)
