"""Consul, etcd and NATS as a test needs them: stopped and begun again, spoken to directly, records put in by hand."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from sidecar.model import Node, Service
from sidecar.test.doubles.programs.process import Program, free_port, start_consul, start_etcd, start_nats
from sidecar.wire.registry import consul, etcd

#: Operations that etcd (128) and Consul (64) take in one transaction.
_AT_ONCE = {"etcd": 100, "consul": 60}
#: The Consul node on which records that are put in by hand stand, and where it is.
ELSEWHERE = "elsewhere"


@define(eq=False)
class Running:
    """An engine on a loopback port of its own, whose data outlives its stops until it is wiped.

    :ivar kind: as ``--registry`` names it. :ivar home: a directory for its data.
    """

    kind: str
    home: Path
    port: int = field(factory=free_port, init=False)
    _program: Program | None = field(default=None, init=False)

    @property
    def flags(self) -> tuple[str, ...]:
        return (f"--registry={self.kind}", f"--registry_address=127.0.0.1:{self.port}")

    def start(self) -> None:
        """Start it and wait, blocking, until it answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        starting: dict[str, Callable[[int, Path], Program]] = {
            "etcd": start_etcd,
            "consul": start_consul,
            "nats": lambda port, home: start_nats(port, home=home),
        }
        self._program = starting[self.kind](self.port, self.home)

    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()

    def freeze(self) -> None:
        """Have it hang: connections stand, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._program is not None:
            self._program.process.send_signal(number)

    def wipe(self) -> None:
        """Remove what it knew; it must not run."""
        shutil.rmtree(self.home)

    # --- What it knows, without a sidecar -----------------------------------------------------------------------------

    def names(self) -> set[str]:
        """The services that anybody who asks now may call."""
        if self.kind == "etcd":
            asked = {"key": _pack(etcd.PREFIX), "range_end": _pack(etcd.end_of(etcd.PREFIX)), "keys_only": True}
            found = self.ask("POST", "/v3/kv/range", asked)
            return {b64decode(kv["key"]).decode().split("/")[3] for kv in found.get("kvs", ())}
        critical = {check["ServiceName"] for check in self.ask("GET", "/v1/health/state/critical")}
        return set(self.ask("GET", "/v1/catalog/services")) - critical

    def put(self, services: Iterable[Service]) -> None:
        """Write every node as go-micro does, in bulk."""
        self.put_raw(
            (service.name, node.id, etcd.value(service, node))
            if self.kind == "etcd"
            else (service.name, node.id, consul.registration(service, node, None))
            for service in services
            for node in service.nodes
        )

    def put_raw(self, records: Iterable[tuple[str, str, Any]]) -> None:
        """Write records as they are.

        :param records: service, id of the node, and what stands there: bytes for etcd, a Consul service for Consul.
        """
        if self.kind == "etcd":
            self._transact(
                {"requestPut": {"key": _pack(etcd.key(name, identity)), "value": b64encode(value).decode()}}
                for name, identity, value in records
            )
        else:
            self.ask("PUT", "/v1/catalog/register", {"Node": ELSEWHERE, "Address": "127.0.0.9"})
            self._transact(_in_consul("set", {"Service": name, **value}) for name, _, value in records)

    def remove(self, service: Service) -> None:
        """Take every node out."""
        if self.kind == "etcd":
            self._transact(
                {"requestDeleteRange": {"key": _pack(etcd.key(service.name, node.id))}} for node in service.nodes
            )
        else:
            self._transact(_in_consul("delete", {"ID": node.id, "Service": service.name}) for node in service.nodes)

    def _transact(self, operations: Iterable[Any]) -> None:
        many = list(operations)
        for at in range(0, len(many), _AT_ONCE[self.kind]):
            some = many[at : at + _AT_ONCE[self.kind]]
            if self.kind == "etcd":
                self.ask("POST", "/v3/kv/txn", {"success": some})
            else:
                self.ask("PUT", "/v1/txn", some)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request. :raises RuntimeError: it did not answer 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{self.kind} answered {answer.status} to {method} {path}: {said[:300]!r}")
            return json.loads(said)
        finally:
            connection.close()


def world(count: int, nodes: int, port: int) -> Sequence[Service]:
    """Many services, all of whose nodes are one app on the loopback ``port``."""
    return [
        Service(
            f"many.{at:04}", "1", nodes=tuple(Node(f"many.{at:04}-{each}", "127.0.0.1", port) for each in range(nodes))
        )
        for at in range(count)
    ]


def _in_consul(verb: str, service: dict[str, Any]) -> Any:
    plain = {key: value for key, value in service.items() if key not in ("Name", "Check")}
    return {"Service": {"Verb": verb, "Node": ELSEWHERE, "Service": plain}}


def _pack(text: str) -> str:
    return b64encode(text.encode()).decode()
