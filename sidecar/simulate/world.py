"""One simulation: a sidecar, nodes with sidecars of their own, and those who ask, until the scenario is over."""

from __future__ import annotations

import json
import traceback
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sidecar.daemon.assembly import Daemon, assemble
from sidecar.daemon.cmdline.options import Options
from sidecar.simulate.app import SimulatedApp
from sidecar.simulate.clients import OneProtocol, OneRequest, SubscriberClient
from sidecar.simulate.network import Machine, Network
from sidecar.simulate.record import CallRecord, MessageRecord, Observations, SubscriberRecord
from sidecar.simulate.scenario import LASTS, NODES, Action

#: The service that is called.
SERVICE = "greeter"
#: Virtual seconds after the last action, in which all is well again and everything has to come to its end.
QUIET = 60.0


@define(eq=False)
class SimulatedNode:
    """A node: an app, and the daemon that registers it and answers for it."""

    name: str
    machine: Machine
    app: SimulatedApp
    daemon: Daemon
    number: int


class World:
    """Everything of one simulation."""

    def __init__(self, seed: int) -> None:
        self.network = Network(Random(seed + 1))
        self.record = Observations()
        self._seed = seed
        self._clients = Machine(self.network, "clients")
        self._sidecar = Machine(self.network, "sidecar")
        self._daemons: list[Daemon] = []
        self._next_port = 20_000
        self.daemon = self._start(self._sidecar, "--client_retry=safe", "--client_retries=2")
        self._port = self.daemon.listener.port
        self._nodes = {name: self._node(name) for name in NODES}
        self._subscribers: dict[str, tuple[SubscriberClient, SubscriberRecord]] = {}

    # --- Building ---------------------------------------------------------------------------------------------------

    def _start(self, machine: Machine, *flags: str) -> Daemon:
        options = Options({})
        options.parseOptions(["--port=0", "--data_dir=none", "--config=none", "--access_log=off", *flags])
        daemon = assemble(options.settings, machine, chance=Random(self._seed))
        daemon.service.startService()
        self._daemons.append(daemon)
        return daemon

    def _node(self, name: str) -> SimulatedNode:
        """Start a node, and have the sidecar know where it is now."""
        machine = Machine(self.network, name)
        number, self._next_port = self._next_port, self._next_port + 1
        app = SimulatedApp(machine, self._ran)
        machine.listen(number, app)
        daemon = self._start(
            machine,
            f"--server_name={SERVICE}",
            f"--server_id={name}",
            f"--server_address=127.0.0.1:{number}",
            "--server_protocol=http",
        )
        self.network.clock.advance(0)
        others = (number, daemon.listener.port)
        (inbound,) = (
            port for port, (owner, _) in self.network.ports.items() if owner is machine and port not in others
        )
        node = {"id": name, "address": "127.0.0.1", "port": inbound}
        self._ask("POST", "/registry", {"name": SERVICE, "nodes": [node]}, lambda status, body: None)
        return SimulatedNode(name, machine, app, daemon, number)

    def _ran(self, number: int) -> None:
        self.record.calls[number].ran += 1

    # --- Asking -----------------------------------------------------------------------------------------------------

    def _ask(self, method: str, target: str, body: Any, answered: Any, **headers: str) -> None:
        data = json.dumps(body).encode() if body is not None else b""
        fields = {"Content-Type": "application/json", **headers}
        question = OneRequest(method, target, data, fields, answered)
        self._clients.connectTCP("127.0.0.1", self._port, OneProtocol(question, question.failed), 1e6)

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self._clients.seconds()

    # --- Actions ----------------------------------------------------------------------------------------------------

    def call(self, action: Action) -> None:
        """Call the service, and give it some seconds."""
        record = self.record.calls[action.number] = CallRecord(self.now, action.seconds)

        def answered(status: int, body: bytes) -> None:
            record.answered, record.status = self.now, status
            if status == 200:
                record.echo = json.loads(body)["number"]

        body = {"service": SERVICE, "method": "Say.Hello", "request": {"number": action.number}}
        self._ask("POST", "/rpc", body, answered, Timeout=f"{round(action.seconds * 1000)}ms")

    def register(self, action: Action) -> None:
        """Register an app for some seconds."""
        asked = self.now
        self.record.began(action.who)
        node = {"id": f"{action.who}-1", "address": "127.0.0.1", "port": 9}

        def answered(status: int, body: bytes) -> None:
            self.record.registered(action.who, asked, self.now, action.seconds, status == 200)

        target = f"/registry?ttl={action.seconds:g}s"
        self._ask("POST", target, {"name": action.who, "nodes": [node]}, answered)

    renew = register

    def deregister(self, action: Action) -> None:
        """Take an app out."""
        self.record.began(action.who)

        def answered(status: int, body: bytes) -> None:
            self.record.deregistered(action.who, self.now, status == 200)

        body = {"name": action.who, "nodes": [{"id": f"{action.who}-1"}]}
        self._ask("DELETE", "/registry", body, answered)

    def look(self, action: Action) -> None:
        """Ask for an app."""
        asked = self.now
        self.record.began(action.who)

        def answered(status: int, body: bytes) -> None:
            self.record.looked(action.who, asked, self.now, status == 200)

        self._ask("GET", f"/registry?service={action.who}", None, answered)

    def publish(self, action: Action) -> None:
        """Publish a message."""
        message = self.record.messages[action.number] = MessageRecord(action.topic, self.now)

        def answered(status: int, body: bytes) -> None:
            if status == 200:
                message.taken = self.now

        self._ask("POST", f"/broker?topic={action.topic}", action.number, answered)

    def subscribe(self, action: Action) -> None:
        """Open a WebSocket; every second subscriber shares a queue."""
        if action.who in self._subscribers:
            return
        queue = "q" if int(action.who) % 2 else ""
        found = SubscriberRecord(action.topic, queue)
        self.record.subscriptions.append(found)

        def opened() -> None:
            found.live = self.now

        def heard(body: bytes) -> None:
            found.heard.append(int(body))

        def left() -> None:
            found.left = min(self.now, found.left if found.left is not None else self.now)
            self._subscribers.pop(action.who, None)

        target = f"/broker?topic={action.topic}" + (f"&queue={queue}" if queue else "")
        client = SubscriberClient(target, opened, heard, left)
        self._subscribers[action.who] = client, found
        self._clients.connectTCP("127.0.0.1", self._port, OneProtocol(client, left), 1e6)

    def leave(self, action: Action) -> None:
        """Close the WebSocket of a subscriber."""
        known = self._subscribers.get(action.who)
        if known is not None and known[0].transport is not None:
            known[1].left = self.now
            known[0].leave()

    def crash(self, action: Action) -> None:
        """Kill a node; it starts anew at another port later."""
        node = self._nodes[action.who]
        if not node.machine.dead:
            node.machine.crash()
            self._clients.callLater(action.seconds, self._restart, action.who)

    def _restart(self, name: str) -> None:
        self._nodes[name] = self._node(name)

    def freeze(self, action: Action) -> None:
        """Stop the process of a node for a while."""
        machine = self._nodes[action.who].machine
        machine.frozen = True
        self._clients.callLater(action.seconds, machine.thaw)

    def part(self, action: Action) -> None:
        """Cut the wires between the sidecar and a node for a while."""
        self.network.part("sidecar", action.who)
        self._clients.callLater(action.seconds, self.network.heal, "sidecar", action.who)

    def lie(self, action: Action) -> None:
        """Have an app answer what is no HTTP for a while."""
        app = self._nodes[action.who].app
        app.lies = True
        self._clients.callLater(action.seconds, setattr, app, "lies", False)

    def slow(self, action: Action) -> None:
        """Have an app answer late for a while."""
        app = self._nodes[action.who].app
        app.delay = action.seconds / 5
        self._clients.callLater(action.seconds, setattr, app, "delay", 0.0)

    def pause(self, action: Action) -> None:
        """Stop the process of the sidecar for a while."""
        self._sidecar.frozen = True
        self.record.stood_still(action.seconds)
        self._clients.callLater(action.seconds, self._sidecar.thaw)

    def set(self, action: Action) -> None:
        """Set the date of the sidecar's machine."""
        self._sidecar.set_by += action.seconds

    # --- Running ----------------------------------------------------------------------------------------------------

    def run(self, scenario: tuple[Action, ...]) -> list[str]:
        """:returns: the promises that were broken, in words."""
        try:
            for action in scenario:
                self._clients.callLater(action.at, self._act, action)
            self._pass(LASTS + QUIET)
            broken = self.record.judged()
            left = self.daemon.site.in_flight
            if left:
                broken.append(f"{left} requests are under way for ever")
            return broken
        finally:
            self._end()

    def _act(self, action: Action) -> None:
        if self._sidecar.frozen and action.kind == "call":
            # Asked while it stands still: what it cannot know cannot count.
            self.record.calls[action.number] = CallRecord(self.now, action.seconds, answered=self.now)
            return
        getattr(self, action.kind)(action)

    def _pass(self, seconds: float) -> None:
        """Let so much time go by, from one thing that is due to the next."""
        clock = self.network.clock
        end = clock.seconds() + seconds
        while True:
            calls = clock.getDelayedCalls()
            due = min((call.getTime() for call in calls), default=end + 1)
            if due > end:
                break
            # Not by advancing: what is added to a float may be too little to come to the call.
            clock.rightNow = max(due, clock.rightNow)
            clock.advance(0)
        clock.rightNow = end

    def _end(self) -> None:
        for daemon in self._daemons:
            stopping = daemon.service.stopService()
            if isinstance(stopping, Deferred):
                stopping.addErrback(_ignore)
            daemon.listener.close()
        try:
            self._pass(30.0)
        finally:
            self.network.close()


def _ignore(failure: Failure) -> None:
    """What fails while a crashed machine's daemon is tidied up is nobody's."""


def simulate(seed: int, scenario: tuple[Action, ...]) -> list[str]:
    """Run a scenario. :returns: the promises that were broken, in words; what was raised is one."""
    try:
        return World(seed).run(scenario)
    except Exception:
        return [traceback.format_exc()]
