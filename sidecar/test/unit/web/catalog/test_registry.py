"""``/registry``, as callers see it."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sidecar.errors import EngineUnavailable, NotFound
from sidecar.interfaces import IRegistry, IWatch, IWatcher
from sidecar.model import UNSAID, BackendState, Caller, Cause, Change, Node, Service
from sidecar.registry.memory import MemoryRegistry
from sidecar.test.doubles.clients.resources import Asking, Heard
from sidecar.test.doubles.watcher import RecordingWatcher
from sidecar.web.catalog.registry import RegistryResource

#: The README's own registration.
SEED = b"""{
	"Name": "foo.bar",
	"Nodes": [{
		"Port": 9091,
		"Address": "127.0.0.1",
		"Id": "foo.bar-017da09a-734f-11e5-8136-68a86d0d36b6"
	}]
}"""
NODE = {"id": "foo.bar-017da09a-734f-11e5-8136-68a86d0d36b6", "address": "127.0.0.1", "port": 9091}


class RegistryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = MemoryRegistry(self.clock)
        self.asking = Asking(RegistryResource(self.registry, 4096, lambda name: f"{name}-made"), self.clock)
        self.ask = self.asking.ask

    def get(self, query: str = "", **headers: str) -> Heard:
        fields = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.ask("GET", f"/registry{query}", headers=fields)

    def register(self, *versions: str, name: str = "foo") -> None:
        for number, version in enumerate(versions):
            node = {"id": f"{name}-{number}", "address": f"10.0.0.{number}:80"}
            heard = self.ask(
                "POST", "/registry", json.dumps({"name": name, "version": version, "nodes": [node]}).encode()
            )
            self.assertEqual(heard.status, 200)


class ReadingTests(RegistryCase):
    def test_empty_list(self) -> None:
        """A registry without services lists as an empty array."""
        heard = self.get()
        self.assertEqual((heard.status, heard.body), (200, b"[]\n"))
        self.assertEqual(heard.headers["content-type"], "application/json")

    def test_list(self) -> None:
        """A list names services in order, each as an object with its name."""
        self.register("1", name="b")
        self.register("1", name="a")
        self.assertEqual(self.get().json, [{"name": "a"}, {"name": "b"}])
        self.assertEqual(self.get("?service=").json, [{"name": "a"}, {"name": "b"}])

    def test_object(self) -> None:
        """One service is the README's object."""
        self.ask("POST", "/registry", SEED)
        self.assertEqual(self.get("?service=foo.bar").json, {"name": "foo.bar", "nodes": [NODE]})

    def test_merged(self) -> None:
        """The nodes of all versions are merged, and each says its own."""
        self.register("1", "2")
        nodes = self.get("?service=foo").json["nodes"]
        self.assertEqual([(node["id"], node["version"]) for node in nodes], [("foo-0", "1"), ("foo-1", "2")])

    def test_array(self) -> None:
        """Go clients, and whoever asks for it, get one object a version."""
        self.register("1", "2")
        asked = self.get("?service=foo&format=array").json
        self.assertEqual([(version["version"], len(version["nodes"])) for version in asked], [("1", 1), ("2", 1)])
        self.assertEqual(self.get("?service=foo", User_Agent="Go-http-client/1.1").json, asked)

    def test_object_for_go(self) -> None:
        """A Go client may ask for the object."""
        self.register("1")
        self.assertIsInstance(self.get("?service=foo&format=object", User_Agent="Go-http-client/1.1").json, dict)

    def test_format_unknown(self) -> None:
        """A form that is not known is a 400 that names the parameter."""
        status, detail = self.get("?service=foo&format=xml").error
        self.assertEqual(status, 400)
        self.assertIn("format", detail)

    def test_unknown(self) -> None:
        """An unknown service is a 404 with error JSON, whatever the form."""
        for query in ("?service=nobody", "?service=nobody&format=array"):
            status, detail = self.get(query).error
            self.assertEqual(status, 404)
            self.assertIn("nobody", detail)

    def test_head(self) -> None:
        """HEAD says what GET would, without the body."""
        self.register("1")
        got = self.get("?service=foo")
        heard = self.ask("HEAD", "/registry?service=foo")
        self.assertEqual((heard.status, heard.body), (200, b""))
        self.assertEqual(heard.headers["content-length"], str(len(got.body)))

    def test_strange_queries(self) -> None:
        """A query that cannot be meant is a 400 that says why."""
        for query, word in (
            (b"service=%ff%fe", "UTF-8"),
            (b"service=\xff", "request"),
            (b"service=%zz", "%25"),
            (b"service=a&service=b", "2 times"),
            (b"service=a%00b", "control"),
            (b"service=a%0d%0aX-Evil:%201", "control"),
            (b"service=" + b"a" * 600, "512"),
            (b"&".join(b"x%d=1" % number for number in range(100)), "64"),
        ):
            heard = self.ask("GET", b"/registry?" + query)
            self.assertEqual(heard.status, 400, query)
            self.assertIn(word, heard.body.decode())

    def test_slips(self) -> None:
        """A parameter that is nearly one of ours is refused, whatever the method; others are ignored."""
        for method, query, meant in (
            ("GET", "?servce=foo", "service"),
            ("GET", "?service=foo&formt=array", "format"),
            ("GET", "?Service=foo", "service"),
            ("POST", "?tll=10s", "ttl"),
            ("POST", "?TTL=10s", "ttl"),
            ("DELETE", "?ttll=1s", "ttl"),
        ):
            status, detail = self.ask(method, f"/registry{query}", SEED if method != "GET" else b"").error
            self.assertEqual(status, 400, query)
            self.assertIn(f"{meant} was meant", detail)
        self.assertEqual(self.ask("POST", "/registry?_=1&ts=2&id=3&pretty", SEED).status, 200)

    def test_version(self) -> None:
        """A version picks the nodes that run it, in both forms; one that nobody runs is a 404 that names those there
        are."""
        self.register("1.0", "2.0")
        self.assertEqual([node["id"] for node in self.get("?service=foo&version=2.0").json["nodes"]], ["foo-1"])
        (only,) = self.get("?service=foo&version=1.0&format=array").json
        self.assertEqual((only["version"], [node["id"] for node in only["nodes"]]), ("1.0", ["foo-0"]))
        status, detail = self.get("?service=foo&version=3.0").error
        self.assertEqual(status, 404)
        self.assertTrue("1.0" in detail and "2.0" in detail and "3.0" in detail, detail)
        self.assertEqual(len(self.get("?service=foo&version=").json["nodes"]), 2)
        self.assertEqual(self.get("?version=1.0").status, 400)

    def test_lines(self) -> None:
        """Answers of ours end in a newline, good ones and bad ones."""
        self.register("1")
        for target in ("", "?service=foo", "?service=foo&format=array", "?service=nobody"):
            self.assertIn(self.get(target).body[-2:], (b"}\n", b"]\n"), target)

    def test_escaped(self) -> None:
        """A name in escapes is the name."""
        self.register("1", name="grüße und co")
        self.assertEqual(self.get("?service=gr%C3%BC%C3%9Fe+und%20co").json["name"], "grüße und co")


class WritingTests(RegistryCase):
    def test_byte_order_mark(self) -> None:
        """It may stand before a service, as editors put it there."""
        body = b'\xef\xbb\xbf{"name":"foo","nodes":[{"id":"foo-1","address":"h:1"}]}'
        self.assertEqual(self.ask("POST", "/registry", body).status, 200)
        self.assertEqual(self.ask("DELETE", "/registry", body).status, 200)

    def test_consul(self) -> None:
        """A service definition of Consul's is told which form is wanted."""
        status, detail = self.ask("POST", "/registry", b'{"ID":"web-1","Name":"web","Port":80}').error
        self.assertEqual(status, 400)
        self.assertIn('{"name":"web","nodes":[{"id":"web-1","address":"127.0.0.1","port":80}]}', detail)

    def test_callers(self) -> None:
        """The registry is told who writes."""
        asked: list[Caller] = []
        for name in ("register", "deregister"):
            does = getattr(self.registry, name)

            def told(*arguments: Any, does: Any = does, **named: Any) -> Any:
                asked.extend(each for each in arguments if isinstance(each, Caller))
                return does(*arguments, **named)

            self.patch(self.registry, name, told)
        self.ask("POST", "/registry", SEED)
        self.ask("DELETE", "/registry", SEED)
        self.assertEqual(asked, [Caller(address="192.168.1.1")] * 2)

    def test_post_answers_what_is_stored(self) -> None:
        """POST answers the service as it is stored, ids made where they were missing."""
        heard = self.ask("POST", "/registry", b'{"name":"foo","nodes":[{"address":"10.0.0.1","port":80}]}')
        self.assertEqual(heard.status, 200)
        self.assertEqual(heard.json["nodes"][0]["id"], "foo-made")
        self.assertEqual(self.get("?service=foo").json["nodes"][0]["id"], "foo-made")

    def test_post_of_addresses_that_are_refused(self) -> None:
        """A node at an address that is nobody's to connect to is refused by its path, and nothing is kept."""
        body = b'{"name":"foo","nodes":[{"address":"h:1"},{"id":"x","address":"0xa9fea9fe:80"}]}'
        heard = self.ask("POST", "/registry", body)
        self.assertEqual(heard.status, 400)
        self.assertIn("nodes[1].address: 0xa9fea9fe (169.254.169.254) is link-local", heard.json["detail"])
        self.assertEqual(self.get("?service=foo").status, 404)

    def test_body_is_read_raw(self) -> None:
        """A body that curl calls a form is read as the JSON that it is, and never as parameters."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        body = b'{"name":"foo","metadata":{"a":"b&ttl=x&service=y"},"nodes":[{"address":"h:1"}]}'
        self.assertEqual(self.ask("POST", "/registry", body, form).status, 200)
        self.assertEqual(self.get("?service=foo").json["metadata"], {"a": "b&ttl=x&service=y"})

    def test_ttl(self) -> None:
        """A node goes when its ttl is over, and what was kept for reading goes with it."""
        self.assertEqual(self.ask("POST", "/registry?ttl=1m30s", SEED).status, 200)
        self.assertEqual(self.get("?service=foo.bar").status, 200)
        self.clock.advance(89.95)
        self.assertEqual(self.get("?service=foo.bar").status, 200)
        self.clock.advance(0.06)
        self.clock.advance(0)
        self.assertEqual(self.get("?service=foo.bar").status, 404)

    def test_ttl_bad(self) -> None:
        """A ttl that no node could live is a 400 that names it, and nothing is registered."""
        for ttl in ("abc", "-5s", "0", "0s", "", "5", "10s&ttl=20s", "NaN", "1e9h", "999999999h", "%35%00"):
            status, detail = self.ask("POST", f"/registry?ttl={ttl}", SEED).error
            self.assertEqual(status, 400, ttl)
            self.assertIn("ttl", detail)
        self.assertEqual(self.get().json, [])

    def test_faults_named_by_path(self) -> None:
        """What is wrong with a service is a 400 that names the field by its path."""
        for body, path in (
            (b"", "empty"),
            (b"{", "JSON"),
            (b"null", "object"),
            (b"[]", "object"),
            (b"{}", "name"),
            (b'{"name":"x"}', "nodes"),
            (b'{"name":"x","nodes":[]}', "nodes"),
            (b'{"name":7,"nodes":[]}', "name"),
            (b'{"name":"x","nodes":[{"address":"h","port":70000}]}', "nodes[0].port"),
            (b'{"name":"x","nodes":[{"address":"h:1"},{"address":"h","port":"1"}]}', "nodes[1].port"),
            (b'{"name":"x","nodes":[{"port":1}]}', "nodes[0].address"),
            (b'{"name":"x\xff","nodes":[]}', "JSON"),
            (b"[" * 4000, "JSON"),
        ):
            status, detail = self.ask("POST", "/registry", body).error
            self.assertEqual(status, 400, body)
            self.assertIn(path, detail)

    def test_too_large(self) -> None:
        """A body over the limit is a 413."""
        self.assertEqual(self.ask("POST", "/registry", b" " * 4097).error[0], 413)

    def test_compressed(self) -> None:
        """A compressed body is a 415, not a riddle."""
        self.assertEqual(self.ask("POST", "/registry", SEED, {"Content-Encoding": "gzip"}).error[0], 415)

    def test_delete(self) -> None:
        """DELETE takes the nodes out, and doing it again is no error."""
        self.ask("POST", "/registry", SEED)
        self.assertEqual(self.get("?service=foo.bar").status, 200)
        for _ in range(2):
            heard = self.ask("DELETE", "/registry", SEED)
            self.assertEqual((heard.status, heard.json), (200, {}))
        self.assertEqual(self.get("?service=foo.bar").status, 404)

    def test_read_after_write(self) -> None:
        """What was written is read at once, though the watch tells of it later."""
        self.register("1")
        self.assertEqual(len(self.get("?service=foo").json["nodes"]), 1)
        self.ask("POST", "/registry", b'{"name":"foo","version":"1","nodes":[{"id":"foo-9","address":"h:1"}]}')
        self.assertEqual(len(self.get("?service=foo").json["nodes"]), 2)

    def test_methods(self) -> None:
        """Other methods are a 405 that says which there are."""
        for method in ("PUT", "PATCH", "TRACE", "FOO"):
            heard = self.ask(method, "/registry")
            self.assertEqual(heard.error[0], 405)
            self.assertEqual(heard.headers["allow"], "GET, POST, DELETE, HEAD, OPTIONS")


@implementer(IRegistry)
class Away:
    """A registry whose engine is gone: it reads from memory and refuses writes."""

    def __init__(self) -> None:
        self.stale = True
        self.reads = 0
        self.watcher: IWatcher = RecordingWatcher()
        self.answer: Deferred[tuple[Service, ...]] | None = None

    def register(self, service: Service, ttl: float | None, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return fail(EngineUnavailable("consul at 127.0.0.1:8500 does not answer"))

    def deregister(self, service: Service, caller: Caller, cause: Cause = UNSAID) -> Deferred[None]:
        return fail(EngineUnavailable("consul at 127.0.0.1:8500 does not answer"))

    def get(self, name: str) -> Deferred[tuple[Service, ...]]:
        self.reads += 1
        if name != "foo":
            return fail(NotFound(name))
        return self.answer or succeed((Service("foo", nodes=(Node("foo-1", "h", 1),)),))

    def list(self) -> Deferred[tuple[str, ...]]:
        return succeed(("foo",))

    def watch(self, watcher: IWatcher) -> IWatch:
        self.watcher = watcher
        return None  # type: ignore[return-value]  # never cancelled here

    def state(self) -> BackendState:
        return BackendState("consul", not self.stale, 1.0 if self.stale else None)


class EngineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = Away()
        self.asking = Asking(RegistryResource(self.registry, 4096, lambda name: name))
        self.ask = self.asking.ask

    def test_stale(self) -> None:
        """Answers from memory say so, in a header and where there is an object; fresh ones do not."""
        heard = self.ask("GET", "/registry?service=foo")
        self.assertEqual(heard.headers["warning"], '110 microsidecar "Response is Stale"')
        self.assertIs(heard.json["stale"], True)
        self.assertIn("warning", self.ask("GET", "/registry").headers)
        self.assertIn("warning", self.ask("GET", "/registry?service=foo&format=array").headers)
        self.registry.stale = False
        heard = self.ask("GET", "/registry?service=foo")
        self.assertNotIn("warning", heard.headers)
        self.assertNotIn("stale", heard.json)

    def test_writes_refused(self) -> None:
        """Writes are a 503 that names the engine."""
        for method in ("POST", "DELETE"):
            status, detail = self.ask(method, "/registry", SEED).error
            self.assertEqual(status, 503)
            self.assertIn("127.0.0.1:8500", detail)

    def test_kept(self) -> None:
        """What was read once is not read again until it changes."""
        for _ in range(3):
            self.ask("GET", "/registry?service=foo")
        self.assertEqual(self.registry.reads, 1)
        self.registry.watcher.invalidated("foo")
        self.ask("GET", "/registry?service=foo")
        self.assertEqual(self.registry.reads, 2)

    def test_changed(self) -> None:
        """What changed is read anew as well."""
        self.ask("GET", "/registry?service=foo")
        self.registry.watcher.changed(Change.of("update", Service("foo", nodes=(Node("foo-1", "h", 2),))))
        self.ask("GET", "/registry?service=foo")
        self.assertEqual(self.registry.reads, 2)

    def test_not_kept_over_a_change(self) -> None:
        """An answer that was on its way while the service changed is given but not kept."""
        self.registry.answer = Deferred()
        waiting = self.asking.begin("GET", "/registry?service=foo")
        self.assertIsNone(waiting.heard())
        self.registry.watcher.invalidated("foo")
        self.registry.answer.callback((Service("foo"),))
        self.assertIsNotNone(waiting.heard())
        self.registry.answer = None
        self.assertEqual(len(self.ask("GET", "/registry?service=foo").json["nodes"]), 1)

    def test_caller_leaves(self) -> None:
        """A caller who hangs up takes the question with him, and nothing is logged."""
        cancelled: list[object] = []
        self.registry.answer = Deferred(cancelled.append)
        self.asking.begin("GET", "/registry?service=foo").hang_up()
        self.assertEqual(len(cancelled), 1)
