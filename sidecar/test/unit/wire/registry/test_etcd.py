"""etcd's gateway: go-micro's keys and values as services of all generations left them, requests and answers."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import sidecar.test
from sidecar.errors import MalformedRecord
from sidecar.wire.registry import etcd

VECTORS = Path(sidecar.test.__file__).parent / "vectors" / "registry"


class Recorded(SynchronousTestCase):
    def test_services_of_all_generations(self) -> None:
        """What go-micro services left in etcd is read, and we would have left the same under the same key."""
        for generation in ("v1.18.0", "v2.9.1", "v4.11.0", "v5.30.0"):
            for key, value in json.loads((VECTORS / f"etcd-{generation}.json").read_text()).items():
                service = etcd.Record(key, value.encode(), 1).service()
                self.assertEqual(etcd.key(service.name, service.nodes[0].id), key)
                self.assertEqual(json.loads(etcd.value(service, service.nodes[0])), json.loads(value))
                self.assertEqual(service.nodes[0].address, "127.0.0.1")


class Requests(SynchronousTestCase):
    def test_key(self) -> None:
        """Slashes in names would open another directory."""
        self.assertEqual(etcd.key("a/b", "c/d"), "/micro/registry/a-b/c-d")
        self.assertEqual(etcd.end_of("/micro/registry/"), "/micro/registry0")

    def test_bodies(self) -> None:
        """Keys and values are base64, 64-bit numbers strings, zeros left out."""
        self.assertEqual(json.loads(etcd.put("k", b"v", 0)), {"key": "aw==", "value": "dg=="})
        self.assertEqual(json.loads(etcd.put("k", b"v", 7))["lease"], "7")
        self.assertEqual(json.loads(etcd.watch("/a/", 5))["create_request"]["start_revision"], "5")
        self.assertEqual(json.loads(etcd.grant(60)), {"TTL": "60"})


class Answers(SynchronousTestCase):
    def test_page(self) -> None:
        """A range's records, its revision, and whether there is more."""
        kv = {"key": b64encode(b"/k").decode(), "value": b64encode(b"{}").decode(), "mod_revision": "9", "lease": "-3"}
        page = etcd.read_page(orjson.dumps({"header": {"revision": "12"}, "kvs": [kv], "more": True, "count": "3"}))
        self.assertEqual(page, etcd.Page((etcd.Record("/k", b"{}", 9, -3),), 12, True))
        self.assertEqual(etcd.read_page(b'{"header":{"revision":"3"}}'), etcd.Page((), 3, False))

    def test_progress(self) -> None:
        """A watch's puts and deletes, its end, and the history that is gone."""
        kv = {"key": b64encode(b"/k").decode(), "mod_revision": "9"}
        line: Any = {"result": {"header": {"revision": "9"}, "events": [{"kv": kv}, {"type": "DELETE", "kv": kv}]}}
        self.assertEqual(
            etcd.read_progress(orjson.dumps(line)), etcd.Progress(9, (etcd.Record("/k", b"", 9), ("/k", 9)))
        )
        line = {"result": {"header": {"revision": "9"}, "canceled": True, "compact_revision": "8"}}
        self.assertEqual(etcd.read_progress(orjson.dumps(line)), etcd.Progress(9, (), 8, "no reason given"))

    def test_fault(self) -> None:
        """A refusal has a gRPC code and a message; what is no JSON is quoted."""
        body = b'{"error":"etcdserver: invalid auth token","code":16,"message":"etcdserver: invalid auth token"}'
        self.assertEqual(etcd.fault(body), (etcd.UNAUTHENTICATED, "etcdserver: invalid auth token"))
        self.assertEqual(etcd.fault(b"Not Found"), (0, "Not Found"))

    def test_malformed(self) -> None:
        """What is no answer is said to be none."""
        for body in (b"", b"[]", b"{", b'{"kvs":[5]}', b'{"kvs":[{"key":"!"}]}', b'{"kvs":[{"mod_revision":"x"}]}'):
            self.assertRaises(MalformedRecord, etcd.read_page, body)
        for line in (b"", b"{}", b'{"error":{}}', b'{"result":{"events":[1]}}', b'{"result":{"events":[{}]}}'):
            self.assertRaises(MalformedRecord, etcd.read_progress, line)
        self.assertRaises(MalformedRecord, etcd.Record("/k", b'{"name":"a"}', 1).service)

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda x: (
                st.lists(x)
                | st.dictionaries(
                    st.sampled_from(["result", "events", "kv", "kvs", "key", "header", "revision", "mod_revision"]), x
                )
            ),
        )
    )
    def test_any_shape(self, found: object) -> None:
        """JSON of any shape raises nothing but MalformedRecord."""
        for read in (etcd.read_page, etcd.read_progress, etcd.fault):
            try:
                read(json.dumps(found).encode())
            except MalformedRecord:  # noqa: PERF203  # three tries
                pass
