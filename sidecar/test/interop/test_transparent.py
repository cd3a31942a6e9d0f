"""go-micro clients of each generation whose proxy is the sidecar: MICRO_PROXY, in v1 MICRO_PROXY_ADDRESS."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.programs import say
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon

#: Generation of the client, and the flags that it needs: v2's gRPC client knows no proxy.
CLIENTS = (
    ("v1.18.0", ()),
    ("v2.9.1", ("--protocol", "mucp")),
    ("v3.7.1", ()),
    ("v4.11.0", ()),
    ("v5.3.0", ()),
    ("v5.30.0", ()),
)
PATIENCE = 60.0


class ThroughTheProxy(SynchronousTestCase):
    """Two services that no client could find by itself, known to the sidecar alone: one of mucp, one of gRPC."""

    skip = say.missing(*(generation for generation, _ in CLIENTS))

    daemon: Daemon

    def setUp(self) -> None:
        self.daemon = running_daemon()
        self.addCleanup(self.daemon.stop)
        for name, generation in (("srv.mucp", "v4.11.0"), ("srv.grpc", "v2.9.1")):
            service = say.running(generation, "serve", "--name", name)
            self.addCleanup(service.stop)
            address, _, port = service.ready["address"].rpartition(":")
            metadata = {"protocol": service.ready["protocol"]}
            node = {"Port": int(port), "Address": address, "Id": service.ready["id"], "Metadata": metadata}
            heard = self.daemon.request("POST", "/registry", json.dumps({"Name": name, "Nodes": [node]}))
            self.assertEqual(heard.status, 200)

    def run_client(self, generation: str, command: str, *words: str) -> dict[str, Any]:
        variable = "MICRO_PROXY_ADDRESS" if generation.startswith("v1.") else "MICRO_PROXY"
        proxy = ("env", f"{variable}=127.0.0.1:{self.daemon.port}")
        return say.run(generation, command, *words, prefix=proxy, patience=PATIENCE)[-1]

    def test_calls(self) -> None:
        """JSON and protobuf calls are answered, whatever the service speaks."""
        for generation, flags in CLIENTS:
            for name in ("srv.mucp", "srv.grpc"):
                said = self.run_client(generation, "call", *flags, name, "Say.Hello", '{"name":"John"}')
                self.assertEqual(said.get("body"), {"msg": "Hello John"}, (generation, said))
                flags_of_text = (*flags, "--text", "--content-type", "application/protobuf")
                said = self.run_client(generation, "call", *flags_of_text, name, "Say.Text", "John")
                self.assertEqual(said.get("body"), "Hello John", (generation, said))

    def test_errors(self) -> None:
        """The service's error arrives with its code, and so does ours."""
        for generation, flags in CLIENTS:
            asked = '{"id":"srv.say","code":409,"detail":"bad John"}'
            said = self.run_client(generation, "call", *flags, "srv.mucp", "Say.Fail", asked)
            fault = {"id": "srv.say", "code": 409, "detail": "bad John", "status": "Conflict"}
            self.assertEqual(said.get("error"), fault, generation)
            said = self.run_client(generation, "call", *flags, "srv.nope", "Say.Hello", "{}")
            self.assertEqual(said["error"]["code"], 404, (generation, said))
            self.assertIn("srv.nope", said["error"]["detail"])

    def test_streams_are_refused(self) -> None:
        """A stream ends with an error that says where streams go."""
        for generation, flags in CLIENTS:
            said = self.run_client(generation, "stream", *flags, "srv.mucp", "Say.Stream", '{"count":2}')
            self.assertIn("/rpc/stream", said["error"]["detail"], (generation, said))
