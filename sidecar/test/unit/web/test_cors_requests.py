"""What pages in a browser may not do, whatever their content type."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from sidecar.net.http.hosts import AllowedHosts
from sidecar.net.http.limits import HTTPLimits
from sidecar.registry.memory import MemoryRegistry
from sidecar.test.doubles.clients.resources import Asking, Heard
from sidecar.web.catalog.registry import RegistryResource
from sidecar.web.cors import BrowserPolicy, CorsPolicy
from sidecar.web.site import SidecarSite
from sidecar.web.tree import RootResource

NODE = b'{"name":"foo","nodes":[{"id":"foo-1","address":"10.0.0.1:80"}]}'
FORM = "application/x-www-form-urlencoded"


class BrowserCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.serve()

    def serve(self, allowed: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> None:
        clock = Clock()
        self.registry = MemoryRegistry(clock)
        cors = CorsPolicy(allowed)
        registry = RegistryResource(self.registry, 4096, lambda name: f"{name}-made")
        self.root = RootResource({"/registry": registry}, cors, BrowserPolicy(AllowedHosts(hosts), cors))
        self.asking = Asking(self.root, clock)

    def ask(self, method: str = "POST", body: bytes = NODE, **headers: str) -> Heard:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.asking.ask(method, "/registry", body, fields)

    def known(self) -> bool:
        return self.ask("GET", b"").json != []


class Rebinding(BrowserCase):
    def test_other_names(self) -> None:
        """A name that is not ours may read and write nothing: 421, which says what to do."""
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
            heard = self.ask(method, NODE if method in ("POST", "DELETE") else b"", Host="evil.example:8081")
            self.assertEqual(heard.status, 421, method)
        detail = self.ask(Host="evil.example:8081").error[1]
        self.assertIn("evil.example:8081", detail)
        self.assertIn("--sidecar_hosts", detail)
        self.assertFalse(self.known())

    def test_own_names(self) -> None:
        """Addresses, loopback names and what --sidecar_hosts names."""
        self.serve(hosts=("micro.example.com",))
        for host in ("127.0.0.1:8081", "[::1]:8081", "localhost:8081", "micro.example.com"):
            self.assertEqual(self.ask(Host=host).status, 200, host)

    def test_old_http(self) -> None:
        """HTTP/1.0 may name no host."""
        transport = StringTransport()
        protocol: Any = self.asking.site.buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET /registry HTTP/1.0\r\n\r\n")
        self.assertIn(b" 200 ", transport.value())

    def test_unix_socket(self) -> None:
        """Over a Unix socket any name is taken: whoever opens its file is no page."""
        site = SidecarSite(self.root, Clock(), HTTPLimits())
        transport = StringTransport(hostAddress=UNIXAddress(b"/run/micro.sock"))
        protocol: Any = site.buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET /registry HTTP/1.1\r\nHost: micro\r\nConnection: close\r\n\r\n")
        self.assertIn(b" 200 ", transport.value())


class CrossSite(BrowserCase):
    def test_foreign(self) -> None:
        """A page of another origin, or of none, changes nothing, whatever its content type."""
        for origin in ("http://evil.example", "null", "http://127.0.0.1:3000"):
            for content_type in (FORM, "text/plain", "multipart/form-data; boundary=x", "application/json"):
                for method in ("POST", "DELETE", "PUT", "PATCH"):
                    heard = self.ask(method, Origin=origin, Content_Type=content_type)
                    self.assertEqual(heard.status, 403, (origin, method))
        self.assertFalse(self.known())
        detail = self.ask(Origin="http://evil.example").error[1]
        for word in ("http://evil.example", "127.0.0.1:8081", "--sidecar_cors"):
            self.assertIn(word, detail)

    def test_fetch_metadata(self) -> None:
        """Nor does a request that its browser calls cross-site."""
        self.assertEqual(self.ask(Sec_Fetch_Site="cross-site").status, 403)
        self.assertEqual(self.ask(Sec_Fetch_Site="cross-site", Origin="http://127.0.0.1:8081").status, 403)
        for site in ("same-origin", "same-site", "none"):
            self.assertEqual(self.ask(Sec_Fetch_Site=site).status, 200)

    def test_own_pages(self) -> None:
        """Pages of ours may, and programs, which send no Origin."""
        self.assertEqual(self.ask(Origin="http://127.0.0.1:8081").status, 200)
        self.assertEqual(self.ask().status, 200)

    def test_permitted(self) -> None:
        """Pages that --sidecar_cors names may; a star names all."""
        self.serve(("https://app.example.com",))
        self.assertEqual(self.ask(Origin="https://app.example.com", Sec_Fetch_Site="cross-site").status, 200)
        self.assertEqual(self.ask(Origin="https://evil.example").status, 403)
        self.serve(("*",))
        self.assertEqual(self.ask(Origin="https://any.example").status, 200)
        self.assertEqual(self.ask(Origin="null").status, 200)
        self.assertEqual(self.ask(Sec_Fetch_Site="cross-site").status, 200)

    def test_reading(self) -> None:
        """What changes nothing is answered, and CORS keeps the answer from the page."""
        heard = self.ask("GET", b"", Origin="http://evil.example", Sec_Fetch_Site="cross-site")
        self.assertEqual(heard.status, 200)
        self.assertNotIn("access-control-allow-origin", heard.headers)

    def test_twice(self) -> None:
        """Two Origins are no Origin."""
        transport = StringTransport()
        protocol: Any = self.asking.site.buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.dataReceived(
            b"GET /registry HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n"
        )
        self.assertIn(b" 400 ", transport.value())
