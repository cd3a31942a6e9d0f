"""What is measured: one function a load, each starting the programs that it needs and ending them."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial

from bench import fanout, openloop, programs, twowrites, watchers, wrk
from bench.programs import Missing, Program
from bench.table import Row, Table

SERVICE = "bench"


@contextlib.contextmanager
def running(*starts: Callable[[], Program]) -> Iterator[list[Program]]:
    """Start programs, hand them over, end them, also when the measurement fails half way."""
    with contextlib.ExitStack() as stack:
        started = []
        for start in starts:
            program = start()
            stack.callback(program.stop)
            started.append(program)
        yield started


def register(sidecar: Program, port: int, name: str = SERVICE, nodes: int = 1) -> None:
    """Register ``name`` at ``port`` through the sidecar's own API."""
    service = {
        "name": name,
        "nodes": [{"id": f"{name}-{n}", "address": "127.0.0.1", "port": port} for n in range(nodes)],
    }
    post(sidecar, "/registry", json.dumps(service).encode())


def post(sidecar: Program, path: str, body: bytes) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{sidecar.port}{path}", data=body)
    with urllib.request.urlopen(request, timeout=30) as answer:
        data: bytes = answer.read()
        return data


def call_body(size: int, method: str = "Say.Hello", service: str = SERVICE) -> str:
    """A call whose whole body is about ``size`` bytes."""
    empty = json.dumps({"service": service, "method": method, "request": {"name": ""}})
    return json.dumps({"service": service, "method": method, "request": {"name": "J" * max(1, size - len(empty))}})


def form_body(size: int) -> str:
    empty = f'service={SERVICE}&method=Say.Hello&request={{"name":""}}'
    return f'service={SERVICE}&method=Say.Hello&request={{"name":"{"J" * max(1, size - len(empty))}"}}'


def rate_of(table: Table, program: Program, load: wrk.Load, seconds: float) -> Callable[[], float]:
    def measure() -> float:
        outcome = wrk.run(program, load, seconds)
        table.errors += outcome.errors
        return outcome.rate

    return measure


class Suites:
    """:ivar seconds: of one measurement. :ivar quick: the short form, for correctness rather than figures."""

    def __init__(self, seconds: float, quick: bool) -> None:
        self.seconds = seconds
        self.quick = quick

    def rpc(self, table: Table) -> None:
        """(a) POST /rpc before a tiny backend: beside nginx, haproxy and stock Twisted."""
        with running(programs.nginx_backend) as (backend,):
            with running(
                programs.sidecar,
                lambda: programs.nginx_proxy(backend.port),
                lambda: programs.stock(backend.port),
            ) as (ours, nginx, stock):
                register(ours, backend.port)
                sizes = [100] if self.quick else [100, 1000, 64_000]
                connections = [32] if self.quick else [1, 16, 32, 256]
                for size in sizes:
                    for count in connections:
                        if size != 100 and count not in (16, 32):
                            continue
                        load = wrk.Load("/rpc", body=call_body(size), connections=count)
                        self._against(table, f"POST /rpc json {size} B, {count} connections", load, ours, nginx, stock)
                form = wrk.Load("/rpc", body=form_body(100), content_type="application/x-www-form-urlencoded")
                self._against(table, "POST /rpc form 100 B, 32 connections", form, ours, nginx)
                self._cpu(table, wrk.Load("/rpc", body=call_body(100)), ours, nginx)
            with contextlib.suppress(Missing), running(lambda: programs.haproxy(backend.port), programs.sidecar) as two:
                haproxy, ours = two
                register(ours, backend.port)
                load = wrk.Load("/rpc", body=call_body(100))
                self._against(table, "POST /rpc json 100 B, 32 connections", load, ours, haproxy)

    def service(self, table: Table) -> None:
        """(a) The same before a real go-micro service, beside nginx before the same."""
        with running(programs.go_service) as (backend,):
            starts = (programs.sidecar, lambda: programs.nginx_proxy(backend.port))
            with running(*starts) as (ours, nginx):
                register(ours, backend.port)
                envelope = '{"method":"Say.Hello","params":[{"name":"John"}],"id":1}'
                loads = {
                    ours: wrk.Load("/rpc", body=call_body(100)),
                    nginx: wrk.Load("/", body=envelope, content_type="application/json-rpc", call="Say.Hello"),
                }
                table.alternate(
                    "before go-micro v5.30.0, 32 connections",
                    "calls/s",
                    ours.name,
                    {p.name: rate_of(table, p, load, self.seconds) for p, load in loads.items()},
                )

    def proxy(self, table: Table) -> None:
        """(a) The proxy at 1 KB, beside nginx proxying the same."""
        with running(lambda: programs.nginx_page(1024)) as (backend,):
            starts = (
                lambda: programs.sidecar("--sidecar_handler=proxy", "--sidecar_namespace="),
                lambda: programs.nginx_proxy(backend.port),
            )
            with running(*starts) as (ours, nginx):
                register(ours, backend.port)
                for method, body in (("GET", ""), ("POST", "x" * 1024)):
                    load = wrk.Load(f"/{SERVICE}/page", method=method, body=body)
                    self._against(table, f"{method} through the proxy, 1 KB, 32 connections", load, ours, nginx)

    def open_loop(self, table: Table) -> None:
        """(b) 1,000 calls a second, evenly paced: what the hop adds, and what it uses."""
        rounds, seconds = (1, 2.0) if self.quick else (3, 60.0)
        with running(programs.nginx_backend) as (backend,):
            starts = (programs.sidecar, lambda: programs.nginx_proxy(backend.port))
            with running(*starts) as (ours, nginx):
                register(ours, backend.port)
                body = call_body(1000).encode()
                added: dict[tuple[str, str], list[float]] = {}
                for _ in range(rounds):
                    direct = openloop.measure(backend, "/", body, 1000, 16, seconds)
                    for program, path in ((ours, "/rpc"), (nginx, "/")):
                        through = openloop.measure(program, path, body, 1000, 16, seconds)
                        table.errors += through.errors
                        for name in ("p50", "p90", "p99"):
                            more = 1000 * (getattr(through, name) - getattr(direct, name))
                            added.setdefault((program.name, f"added {name}|ms"), []).append(more)
                        added.setdefault((program.name, "CPU|mCPU"), []).append(through.millicpu)
                for (who, label), values in added.items():
                    what, unit = label.split("|")
                    table.add(Row(f"open loop 1,000/s, 16 connections: {what}", who, tuple(values), unit))

    def two_writes(self, table: Table) -> None:
        """(b) One call after the other to an app that writes its answers in two pieces, as the README's does."""
        with running(programs.http_server) as (backend,):
            starts = (programs.sidecar, lambda: programs.nginx_proxy(backend.port))
            with running(*starts) as (ours, nginx):
                register(ours, backend.port)
                envelope = b'{"method":"Say.Hello","params":[{"name":"John"}],"id":1}'
                loads = {ours: ("/rpc", call_body(100).encode()), nginx: ("/", envelope)}
                calls = 20 if self.quick else 200

                def median(program: Program) -> float:
                    took, errors = twowrites.measure(program.port, *loads[program], calls)
                    table.errors += errors
                    return took

                measures = {program.name: partial(median, program) for program in loads}
                table.alternate("call to http.server, 1 connection", "ms", ours.name, measures)

    def reads(self, table: Table) -> None:
        """(c) GET /registry?service= and /health, beside stock twisted.web serving the same bytes."""
        with running(programs.sidecar) as (ours,):
            register(ours, 9)
            for path in (f"/registry?service={SERVICE}", "/health"):
                with urllib.request.urlopen(f"http://127.0.0.1:{ours.port}{path}", timeout=10) as answer:
                    data = answer.read()
                port = programs.free_port()
                command = [programs.sys.executable, "-m", "bench.stock", str(port), "bytes", data.decode()]
                with running(
                    lambda c=command, p=port: Program("stock twisted", c, p),  # type: ignore[misc]
                    lambda d=data: programs.nginx_static(d.strip()),  # type: ignore[misc]
                ) as (stock, nginx):
                    load = wrk.Load(path, method="GET")
                    self._against(table, f"GET {path.partition('=')[0]}, 32 connections", load, ours, stock, nginx)

    def fan_out(self, table: Table) -> None:
        """(d) WebSocket fan-out, beside nats-server's own WebSocket port."""
        counts = [10] if self.quick else [1, 10, 100, 1000]
        sizes = [100] if self.quick else [100, 1000]
        with running(programs.sidecar, programs.Nats) as (ours, nats):
            self._fan_out(table, "memory", ours, nats, counts, sizes)

    def nats(self, table: Table) -> None:
        """(e) The same through the NATS broker."""
        with running(programs.Nats) as (nats,):
            flags = ("--broker=nats", f"--broker_address=127.0.0.1:{nats.port}")
            with running(lambda: programs.sidecar(*flags)) as (ours,):
                self._fan_out(table, "NATS", ours, nats, [10] if self.quick else [1, 10, 100], [100])

    def tls(self, table: Table) -> None:
        """(f) The same calls over TLS, beside our own without."""
        from bench.certificate import make

        with make() as (cert, key), running(programs.nginx_backend) as (backend,):
            flags = ("--enable_tls", f"--tls_cert_file={cert}", f"--tls_key_file={key}")
            with running(programs.sidecar, lambda: programs.sidecar(*flags)) as (bare, secure):
                secure.name = "microsidecar, TLS"
                register(bare, backend.port)
                register_tls(secure, backend.port)
                measures = {
                    program.name: rate_of(
                        table, program, wrk.Load("/rpc", body=call_body(100), tls=program is secure), self.seconds
                    )
                    for program in (bare, secure)
                }
                table.alternate("POST /rpc json 100 B, TLS", "calls/s", secure.name, measures)

    def footprint(self, table: Table) -> None:
        """(g) Start-up, and memory: idle, after many calls, with idle WebSockets, with registered nodes."""

        def start() -> float:
            with running(programs.sidecar) as (ours,):
                urllib.request.urlopen(f"http://127.0.0.1:{ours.port}/health", timeout=10).close()
                return time.monotonic() - ours.started

        table.alternate("start to first answer", "s", "microsidecar", {"microsidecar": start})
        with running(programs.nginx_backend, programs.sidecar) as (backend, ours):
            idle = ours.memory()
            table.add(Row("memory, idle", ours.name, (idle / 1e6,), "MB"))
            register(ours, backend.port)
            calls = 0
            goal = 20_000 if self.quick else 1_000_000
            while calls < goal:
                outcome = wrk.run(ours, wrk.Load("/rpc", body=call_body(100)), 2 if self.quick else 10)
                calls += int(outcome.rate * (2 if self.quick else 10))
            table.add(Row(f"memory after {goal:,} calls", ours.name, (ours.memory() / 1e6,), "MB"))
        with running(programs.sidecar) as (ours,):
            self._idle_websockets(table, ours, 200 if self.quick else 10_000)
        with running(programs.sidecar) as (ours,):
            self._nodes(table, ours, 1000 if self.quick else 100_000)

    def services(self, table: Table) -> None:
        """(h) What a call costs when 10, 1,000 and 100,000 services are registered."""
        counts = [10, 1000] if self.quick else [10, 1000, 100_000]
        with running(programs.nginx_backend) as (backend,), running(*[programs.sidecar] * len(counts)) as sidecars:
            measures = {}
            for count, ours in zip(counts, sidecars, strict=True):
                ours.name = f"{count:,} services"
                for n in range(count - 1):
                    register(ours, backend.port, f"other.{n}")
                register(ours, backend.port)
                measures[ours.name] = rate_of(table, ours, wrk.Load("/rpc", body=call_body(100)), self.seconds)
            table.alternate("POST /rpc json 100 B by services", "calls/s", f"{counts[-1]:,} services", measures)

    def watchers(self, table: Table) -> None:
        """(i) What those cost who watch the registry, by events, a WebSocket and blocking queries; how soon all of them
        have a change."""
        count = 200 if self.quick else 10_000
        watchers.raise_limit(count)
        for what, opened in (("events", watchers.events), ("a WebSocket", watchers.websocket)):
            # These clients answer no pings.
            with running(partial(programs.sidecar, "--broker_ping_interval=10m")) as (ours,):
                register(ours, 9, "first")
                opened(ours.port).close()
                before = ours.memory()
                with watchers.watching([opened(ours.port) for _ in range(count)]) as socks:
                    seconds = []
                    for number in range(watchers.CHANGES):
                        register(ours, 9, f"change-{number}")
                        seconds.append(watchers.told(socks, f"change-{number}".encode()))
                    each = watchers.each(ours, before, count)
                    table.add(Row(f"memory of a watcher by {what}, of {count:,}", ours.name, (each,), "KiB"))
                    table.add(Row(f"a change at all {count:,}, by {what}", ours.name, tuple(seconds), "s"))
        with running(programs.sidecar) as (ours,):
            register(ours, 9, "first")
            before = ours.memory()
            index = watchers.index(ours.port)
            with watchers.watching([watchers.query(ours.port, index) for _ in range(count)]) as socks:
                watchers.await_open(ours.port, count)
                each = watchers.each(ours, before, count)
                table.add(Row(f"memory of a blocking query, of {count:,}", ours.name, (each,), "KiB"))
                register(ours, 9, "change")
                table.add(Row(f"all {count:,} answered", ours.name, (watchers.told(socks, b"change"),), "s"))

    # --- Parts ------------------------------------------------------------------------------------------------------

    def _against(self, table: Table, what: str, load: wrk.Load, ours: Program, *peers: Program) -> None:
        measures = {program.name: rate_of(table, program, load, self.seconds) for program in (ours, *peers)}
        table.alternate(what, "calls/s", ours.name, measures)

    def _cpu(self, table: Table, load: wrk.Load, ours: Program, nginx: Program) -> None:
        def measure(program: Program) -> Callable[[], float]:
            return lambda: 1e6 * wrk.run(program, load, self.seconds).cpu

        measures = {program.name: measure(program) for program in (ours, nginx)}
        table.alternate("CPU of a call", "µs", ours.name, measures)

    def _fan_out(
        self, table: Table, broker: str, ours: Program, nats: Program, counts: list[int], sizes: list[int]
    ) -> None:
        for size in sizes:
            for count in counts:
                latencies: dict[str, list[float]] = {ours.name: [], nats.name: []}

                def measure(
                    program: Program, count: int = count, size: int = size, kept: dict[str, list[float]] = latencies
                ) -> Callable[[], float]:
                    def once() -> float:
                        outcome = fanout.run(program, count, size, self.seconds)
                        kept[program.name].append(1e6 * outcome.latency)
                        return outcome.deliveries

                    return once

                what = f"fan-out, {broker}, {size} B, {count} subscribers"
                table.alternate(what, "deliveries/s", ours.name, {p.name: measure(p) for p in (ours, nats)})
                for who, values in latencies.items():
                    table.add(Row(f"{what}: latency", who, tuple(values), "µs"))

    def _idle_websockets(self, table: Table, ours: Program, count: int) -> None:
        import resource

        from bench.sockets import connect

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 500), hard))
        connect(ours.port, "/broker?topic=first").close()
        before = ours.memory()
        socks = [connect(ours.port, f"/broker?topic=idle-{n % 100}") for n in range(count)]
        each = (ours.memory() - before) / count / 1000
        table.add(Row(f"memory of an idle WebSocket, of {count:,}", ours.name, (each,), "KB"))
        for sock in socks:
            sock.close()

    def _nodes(self, table: Table, ours: Program, count: int) -> None:
        register(ours, 9, "first")
        before = ours.memory()
        for n in range(count // 100):
            register(ours, 9, f"svc.{n}", nodes=100)
        each = (ours.memory() - before) / count / 1000
        table.add(Row(f"memory of a registered node, of {count:,}", ours.name, (each,), "KB"))


def register_tls(sidecar: Program, port: int) -> None:
    """As :func:`register`, over TLS with a certificate that only this run knows."""
    import ssl

    body = json.dumps({"name": SERVICE, "nodes": [{"id": "bench-0", "address": "127.0.0.1", "port": port}]})
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = urllib.request.Request(f"https://127.0.0.1:{sidecar.port}/registry", data=body.encode())
    urllib.request.urlopen(request, timeout=30, context=context).close()
