"""A sidecar at half of what it can carry, for as long as one likes: what it keeps of memory and descriptors.

``python -m bench.soak`` loads one for 15 minutes (``--minutes``) after a warm-up of two (``--warm_up``): calls at half
of the rate that was measured first (``--rate`` gives another), new connections, calls that fail, apps that register,
renew, expire and leave, publishers, subscribers and watchers that come and go. Before and after, once all clients are
gone, it counts resident memory and open descriptors, and does the same with a second sidecar that nobody asks for
anything. What is held: memory at the end at most 2 MiB over that after the warm-up, and not a descriptor more. The exit
code is 1 where it is not.

``python -m bench.soak --kills 200`` instead kills a sidecar so many times with ``kill -9`` while apps register, and
compares what was acknowledged with what the next one knows.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from attrs import define, field, frozen

from bench import wrk
from bench.programs import Missing, Program, nginx_backend, sidecar
from bench.sockets import connect, frame
from sidecar.test.faults.kills import KillRounds

MIB = 1024 * 1024
#: Bytes of resident memory that the end may have more than the beginning.
SLACK = 2 * MIB
#: Calls for a minute are made by processes of so many seconds each, with connections of their own.
SLICE = 10
#: Connections that call, at a time.
CONNECTIONS = 32
#: Seconds within which a sidecar that nobody asks any more has closed what it kept open, and for which nothing may have
#: changed then: its connections to nodes are kept for a minute.
QUIET = 200.0
UNCHANGED = 75.0
_CALL = b'{"service":"soak","method":"Say.Hello","request":{"name":"John"}}'


@frozen
class Held:
    """What a process holds. :ivar memory: bytes resident. :ivar descriptors: open files and sockets."""

    memory: int
    descriptors: int

    @classmethod
    def of(cls, program: Program) -> Held:
        return cls(program.memory(), len(os.listdir(f"/proc/{program.process.pid}/fd")))


def quiet(program: Program) -> Held:
    """:returns: what it holds once that has not changed for a while."""
    end = time.monotonic() + QUIET
    held, since = Held.of(program), time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < UNCHANGED:
        time.sleep(1)
        now = Held.of(program)
        if now.descriptors != held.descriptors:
            since = time.monotonic()
        held = now
    return held


@define(eq=False)
class Clients:
    """Whatever asks for other things than calls, in threads. :ivar counts: how often each thing was done, or failed."""

    port: int
    counts: Counter[str] = field(factory=Counter)
    _ended: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self) -> None:
        self._ended.clear()
        works = (self._registrations, self._messages, self._subscribers, self._watches, self._failures)
        self._threads = [threading.Thread(target=self._again, args=(work,), daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def _again(self, work: Callable[[Random], None]) -> None:
        chance = Random(work.__name__)
        while not self._ended.is_set():
            try:
                work(chance)
                self.counts[work.__name__.strip("_")] += 1
            except (OSError, http.client.HTTPException, RuntimeError):  # noqa: PERF203  # it goes on
                self.counts[f"{work.__name__.strip('_')} cut off"] += 1
                self._ended.wait(1)

    def _ask(self, method: str, path: str, body: bytes | str | None = None, *statuses: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (statuses or (200,)):
                self.counts[f"{method} {path.partition('?')[0]}: {answer.status}"] += 1

    def _registrations(self, chance: Random) -> None:
        name = f"app-{chance.randrange(50)}"
        body = json.dumps({"name": name, "nodes": [{"id": f"{name}-1", "address": "127.0.0.1", "port": 9}]})
        if chance.random() < 0.3:
            self._ask("DELETE", "/registry", body)
        else:
            self._ask("POST", f"/registry?ttl={chance.choice((1, 5, 30))}s", body)
        self._ended.wait(0.1)

    def _messages(self, chance: Random) -> None:
        sock = connect(self.port, "/broker?topic=soak")
        with contextlib.closing(sock):
            sock.settimeout(60)
            for _ in range(200):
                sock.sendall(frame(bytes(chance.randrange(1, 4000))))
                sock.recv(65536)
                if self._ended.wait(0.02):
                    break

    def _subscribers(self, chance: Random) -> None:
        socks = [connect(self.port, f"/broker?topic=soak{'&queue=q' if one % 2 else ''}") for one in range(20)]
        for sock in socks[:15]:
            sock.setblocking(False)
        for _ in range(100):
            for sock in socks[:15]:  # the others do not read
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1 << 20)
            if self._ended.wait(0.05):
                break
        for sock in socks:
            sock.close()

    def _watches(self, chance: Random) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as sock:
            sock.sendall(b"GET /registry/watch HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % self.port)
            for _ in range(chance.randrange(1, 30)):
                sock.recv(65536)
                if self._ended.is_set():
                    break

    def _failures(self, chance: Random) -> None:
        self._ask("POST", "/rpc", _CALL.replace(b'"soak"', b'"nobody"'), 404)
        self._ask("POST", "/rpc", b"{", 400)
        self._ask("GET", "/nowhere", None, 404)
        self._ask("GET", "/metrics")
        self._ask("GET", "/stats")
        self._ended.wait(1)


@define(eq=False)
class Soak:
    """One sidecar under load, and one that is left alone."""

    minutes: float
    warm_up: float
    rate: float
    counts: Counter[str] = field(factory=Counter)

    def run(self) -> int:
        """:returns: the exit code."""
        # The journal is to be full after the warm-up: it is bounded by a count of changes.
        flags = ("--journal_entries=200", "--access_log=off", "--enable_stats")
        with tempfile.TemporaryDirectory() as home, contextlib.ExitStack() as stack:
            backend = nginx_backend()
            stack.callback(backend.stop)
            program = sidecar(f"--data_dir={home}/soaked", *flags)
            stack.callback(program.stop)
            control = sidecar(f"--data_dir={home}/idle", *flags)
            stack.callback(control.stop)
            node = {"id": "soak-1", "address": "127.0.0.1", "port": backend.port}
            Clients(program.port)._ask("POST", "/registry", json.dumps({"name": "soak", "nodes": [node]}))
            if not self.rate:
                best = wrk.run(program, wrk.Load("/rpc", body=_CALL.decode(), connections=CONNECTIONS), 5)
                self.rate = best.rate / 2
                print(f"at its best {best.rate:,.0f} calls/s; half of that is {self.rate:,.0f}", flush=True)
            self._load(program, self.warm_up)
            before, idle_before = quiet(program), Held.of(control)
            self._tell("warm", before)
            self._load(program, self.minutes)
            after, idle_after = quiet(program), Held.of(control)
            self._tell("end", after)
            program.log.seek(0)
            log = program.log.read().decode(errors="replace")
            broken = [word for word in ("Traceback", "Unhandled", "Incident") if word in log]
        return self._judge(before, after, idle_before, idle_after, broken)

    def _load(self, program: Program, minutes: float) -> None:
        clients = Clients(program.port, self.counts)
        clients.start()
        with tempfile.NamedTemporaryFile() as file:
            file.write(_CALL)
            file.flush()
            slices = max(1, math.ceil(minutes * 60 / SLICE))
            for number in range(1, slices + 1):
                words = [str(program.port), "/rpc", file.name, str(self.rate), str(CONNECTIONS), str(SLICE)]
                done = subprocess.run(
                    [sys.executable, "-m", "bench.openloop", *words], capture_output=True, text=True, check=True
                )
                said = json.loads(done.stdout)
                self.counts["calls"] += len(said["took"])
                self.counts["calls that failed"] += said["errors"]
                if number % 6 == 0:
                    self._tell(f"{number * SLICE // 60} min", Held.of(program))
        clients.stop()

    def _tell(self, when: str, held: Held) -> None:
        calls = f"{self.counts['calls']:>12,} calls, {self.counts['calls that failed']} failed"
        print(f"{when:<8}{held.memory / MIB:>8.1f} MiB{held.descriptors:>6} descriptors{calls}", flush=True)

    def _judge(self, before: Held, after: Held, idle_before: Held, idle_after: Held, broken: list[str]) -> int:
        grown, more = after.memory - before.memory, after.descriptors - before.descriptors
        idle = idle_after.memory - idle_before.memory
        print(f"memory    {grown / MIB:+.2f} MiB in {self.minutes:g} min (idle process: {idle / MIB:+.2f} MiB)")
        print(f"descriptors {more:+d} (idle process: {idle_after.descriptors - idle_before.descriptors:+d})")
        print("done: " + ", ".join(f"{name} {count:,}" for name, count in sorted(self.counts.items())))
        wrong = []
        if grown > SLACK:
            wrong.append(f"memory grew by more than {SLACK // MIB} MiB")
        if more > 0:
            wrong.append("descriptors are left open")
        wrong += [f"its log has: {word}" for word in broken]
        print(f"broken: {'; '.join(wrong) or 'nothing'}")
        return 1 if wrong else 0


def kills(count: int, seed: int) -> int:
    """:returns: the exit code."""
    with tempfile.TemporaryDirectory() as home:
        rounds = KillRounds(Path(home, "state"), Random(seed))
        wrong: list[str] = []
        for number in range(1, count + 1):
            found = rounds.round()
            wrong += [f"round {number}: {each}" for each in found]
            if found or number % 20 == 0:
                print(
                    f"{number} kills, {rounds.ledger.acknowledged} acknowledged, {len(wrong)} lost or raised",
                    flush=True,
                )
        wrong += rounds.last()
    for each in wrong[:50]:
        print(each)
    tell_kills(count, rounds, len(wrong))
    return 1 if wrong else 0


def tell_kills(count: int, rounds: KillRounds, wrong: int) -> None:
    there = f"{len(rounds.ledger.present)} there now"
    print(f"{count} kills: {rounds.ledger.acknowledged} acknowledged, {there}, {wrong} lost or raised", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=15, help="of load (15)")
    parser.add_argument("--warm_up", type=float, default=2, help="minutes of load before it counts (2)")
    parser.add_argument("--rate", type=float, default=0, help="calls a second (half of what is measured first)")
    parser.add_argument("--kills", type=int, default=0, metavar="COUNT", help="kill -9 so often instead")
    parser.add_argument("--seed", type=int, default=1, help="of what happens before each kill (1)")
    given = parser.parse_args()
    if given.kills:
        return kills(given.kills, given.seed)
    try:
        return Soak(given.minutes, given.warm_up, given.rate).run()
    except Missing as missing:
        print(f"left out: {missing}")
        return 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    sys.exit(main())
