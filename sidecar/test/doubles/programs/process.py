"""Starts real servers and services for tests: found on the path, on ports of their own, stopped by process id."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from attrs import define, field

#: A directory that holds programs which no package brings (``consul``, the go-micro services).
BIN = "MICROSIDECAR_INTEROP_BIN"

#: The project's checkout, for tests of an installed package that need more than the package holds.
CHECKOUT = "MICROSIDECAR_CHECKOUT"


#: Why tests of documents and of the bench cannot run for an installed package alone.
NO_CHECKOUT = f"no checkout here (set ${CHECKOUT} to one)"

#: Set to anything: tests start none of the programs that :func:`missing` is asked for.
QUICK = "MICROSIDECAR_QUICK"
#: Why a test is skipped then.
QUICKLY = f"a quick run (${QUICK} is set)"


def checkout() -> Path:
    """The checkout: where ``MICROSIDECAR_CHECKOUT`` says, or where this file stands in it."""
    return Path(os.environ.get(CHECKOUT) or Path(__file__).parents[4])


def no_checkout() -> str | None:
    """:returns: why tests of what stands beside the package cannot run, for their ``skip``; None where they can."""
    return None if (checkout() / "README.rst").exists() else NO_CHECKOUT


def find_program(name: str) -> str | None:
    """The path of an installed program, or None. The directory named by ``MICROSIDECAR_INTEROP_BIN`` comes first."""
    built = os.environ.get(BIN) or str(checkout() / "interop" / "bin")
    places = [built, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


def missing(*names: str) -> str | None:
    """Why a test cannot run here, for its ``skip``; None where all programs are found."""
    if names and os.environ.get(QUICK):
        return QUICKLY
    absent = [name for name in names if find_program(name) is None]
    return f"not installed: {', '.join(absent)} (nor in ${BIN})" if absent else None


#: Why tests of the commands, of twistd's plugin and of backends by name cannot run in a bare checkout.
NOT_INSTALLED = "not installed: microsidecar, whose entry points this test needs (pip install '.[dev]')"


def not_installed() -> str | None:
    """:returns: why tests that need the package's entry points cannot run, for their ``skip``; None where they can."""
    try:
        metadata.distribution("microsidecar")
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED
    # A build leaves metadata in the checkout that it was made from; commands come with an installation alone.
    return None if (Path(sys.executable).parent / "micro").exists() else NOT_INSTALLED


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A loopback port that was free a moment ago, for programs that cannot say which one they took."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether something listens on the loopback ``port``."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@define(eq=False)
class Program:
    """A started process, its output in ``log``."""

    process: subprocess.Popen[bytes]
    log: Path
    home: Path = field()
    _owns_home: bool = True

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """End it at once, as a crash would; what it wrote to disk stays."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, patiently at first, and remove its files."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        if self._owns_home:
            shutil.rmtree(self.home, ignore_errors=True)


def start(
    name: str,
    arguments: Sequence[str],
    ready: Callable[[Program], bool],
    *,
    home: Path | None = None,
    environment: Mapping[str, str] | None = None,
    patience: float = 60.0,
) -> Program:
    """Start ``name`` and wait, blocking, until ``ready``.

    :param name: a program for :func:`find_program`, or a path.
    :param ready: asked again and again; what it answers True to is a program in service.
    :param home: its working directory, kept by ``stop`` when given; a temporary one otherwise.
    :param patience: seconds until it must be ready.
    :raises RuntimeError: with the end of its output, where it ended or did not get ready.
    """
    path = name if os.sep in name else find_program(name)
    if path is None:
        raise RuntimeError(missing(name))
    place = home or Path(tempfile.mkdtemp(prefix=f"{Path(name).name}-"))
    log = place / f"{Path(name).name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [path, *arguments],
            cwd=place,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=default_signals,
        )
    program = Program(process, log, place, home is None)
    deadline = time.monotonic() + patience
    while not ready(program):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = program.output[-2000:]
            program.stop()
            raise RuntimeError(f"{name} did not start: {tail}")
        time.sleep(0.05)
    return program


def default_signals() -> None:
    """What a shell starts in the background ignores SIGINT, and with nohup SIGHUP; what tests start does not."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start_etcd(port: int, home: Path | None = None) -> Program:
    """etcd on the loopback ``port``; with ``home`` its data survives a restart."""
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    return start(
        "etcd",
        [
            "--data-dir",
            "data",
            "--listen-client-urls",
            client,
            "--advertise-client-urls",
            client,
            "--listen-peer-urls",
            peer,
            "--initial-advertise-peer-urls",
            peer,
            "--initial-cluster",
            f"default={peer}",
            "--log-level",
            "warn",
            "--unsafe-no-fsync",
        ],
        lambda program: accepts(port) and _answers(port, "/health", b'"true"'),
        home=home,
    )


def start_consul(port: int, home: Path | None = None, extra: Sequence[str] = ()) -> Program:
    """A Consul server of one on the loopback ``port``; with ``home`` its data survives a restart."""
    arguments = [
        "agent",
        "-server",
        "-bootstrap-expect",
        "1",
        "-data-dir",
        "data",
        "-node",
        "here",
        "-bind",
        "127.0.0.1",
        "-client",
        "127.0.0.1",
        "-disable-host-node-id",
        "-log-level",
        "warn",
        "-http-port",
        str(port),
        "-dns-port",
        "-1",
        "-grpc-port",
        "-1",
        "-serf-lan-port",
        str(free_port()),
        "-serf-wan-port",
        "-1",
        "-server-port",
        str(free_port()),
        "-hcl",
        "disable_update_check = true",
        "-hcl",
        "performance { raft_multiplier = 1 }",
        "-hcl",
        "connect { enabled = false }",
        *extra,
    ]
    return start(
        "consul",
        arguments,
        lambda program: accepts(port) and _answers(port, "/v1/catalog/services", b'"consul"'),
        home=home,
    )


def start_nats(port: int, arguments: Sequence[str] = (), home: Path | None = None) -> Program:
    """nats-server on the loopback ``port``."""
    return start("nats-server", ["-a", "127.0.0.1", "-p", str(port), *arguments], lambda _: accepts(port), home=home)


@define(eq=False)
class Rabbit(Program):
    """RabbitMQ, with the port mapper that is its own."""

    mapper: Program | None = None

    def kill(self) -> None:
        super().kill()
        self._end_mapper()

    def stop(self) -> None:
        super().stop()
        self._end_mapper()

    def _end_mapper(self) -> None:
        if self.mapper is not None:
            self.mapper.stop()


def start_rabbitmq(port: int, home: Path | None = None, more: str = "") -> Rabbit:
    """RabbitMQ on the loopback ``port``, all of it on loopback and in one directory; with ``home`` its data survives.

    :param more: further lines for its configuration file.
    """
    place = home or Path(tempfile.mkdtemp(prefix="rabbitmq-"))
    mapped = free_port()
    # Erlang starts a port mapper by itself that outlives it and listens everywhere: this one is there before.
    mapper = start("epmd", ["-address", "127.0.0.1", "-port", str(mapped)], lambda _: accepts(mapped))
    (place / "enabled_plugins").write_text("[].\n")
    (place / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\nvm_memory_high_watermark.absolute = 512MB\n{more}"
    )
    environment = {
        "HOME": str(place),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(mapped),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
        "RABBITMQ_LOG_BASE": str(place / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_MNESIA_BASE": str(place / "data"),
        "RABBITMQ_NODENAME": "here@localhost",  # the data's name too, so it has to be the same after a restart
        "RABBITMQ_PID_FILE": str(place / "rabbitmq.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
        # Else a shell stands before it, and a signal to that is none to it.
        "RUNNING_UNDER_SYSTEMD": "1",
    }
    try:
        program = start(
            _rabbitmq() or "rabbitmq-server",
            [],
            lambda program: accepts(port) and "completed with" in program.output,
            home=place,
            environment=environment,
            patience=120.0,
        )
    except BaseException:
        mapper.stop()
        raise
    return Rabbit(program.process, program.log, place, home is None, mapper)


def _rabbitmq() -> str | None:
    """Debian's command becomes the user ``rabbitmq``, who has no business in our directories: this is behind it."""
    behind = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    return behind if os.access(behind, os.X_OK) else None


def start_redis(port: int, home: Path | None = None, arguments: Sequence[str] = ()) -> Program:
    """Redis on the loopback ``port``."""
    words = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", *arguments]
    return start("redis-server", words, lambda _: accepts(port), home=home)


_RUNNING: dict[str, int] = {}


def shared(name: str, start_on: Callable[[int], Program]) -> int:
    """A program for a whole test run, started when first asked for. (Trial has no set-up of classes.)

    :returns: its port.
    """
    if name not in _RUNNING:
        port = free_port()
        atexit.register(start_on(port).stop)
        _RUNNING[name] = port
    return _RUNNING[name]


def _answers(port: int, path: str, wanted: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
            sock.settimeout(2)
            sock.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
            answer = b""
            while chunk := sock.recv(65536):
                answer += chunk
    except OSError:
        return False
    return wanted in answer
