"""Hundreds of rude callers at a live daemon: each is told clearly, nothing breaks, nothing stays behind."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.hostile.attack import FLAGS, Attack
from sidecar.test.doubles.hostile.requests import attacks
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon

#: Rude callers at a time.
AT_ONCE = 32
#: Seconds after which a caller that is still not answered is taken to be ignored.
PATIENCE = 60.0
#: Bytes that memory may differ by between two looks: an arena or two of the allocator.
SLACK = 8 * 1024 * 1024
#: Words of a log that has met something unforeseen.
ALARMS = ("Traceback", "Unhandled", "Incident", "MemoryError", "RecursionError")


@define
class Outcome:
    """What a rude caller heard.

    :ivar answers: status and body of each answer. :ivar code: of the WebSocket, when it was closed.
    """

    answers: list[tuple[int, bytes]] = field(factory=list)
    code: int | None = None
    ended: bool = False


def meet(port: int, attack: Attack) -> Outcome:
    """Send what the attack sends, and listen until the daemon hangs up."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as caller:
        caller.settimeout(PATIENCE)
        try:
            caller.sendall(attack.data)
        except ConnectionError:
            # Cut off in the middle of a sentence: what was answered to its beginning can still be heard.
            pass
        ended = True
        try:
            while piece := caller.recv(65536):
                heard += piece
        except ConnectionError:
            pass
        except TimeoutError:
            ended = False
    return understood(heard, ended)


def understood(heard: bytes, ended: bool) -> Outcome:
    outcome = Outcome(ended=ended)
    while heard.startswith(b"HTTP/1."):
        head, _, heard = heard.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            continue
        if status == 101:
            outcome.answers.append((status, b""))
            outcome.code = close_code(heard)
            break
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        outcome.answers.append((status, heard[:length]))
        heard = heard[length:]
    return outcome


def close_code(data: bytes) -> int | None:
    """The code of the close frame among a server's frames."""
    for opcode, payload in frames(data):
        if opcode == 8:
            code: int = struct.unpack(">H", payload[:2])[0] if payload else 1005
            return code
    return None


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """A server's frames: opcode and payload."""
    while len(data) >= 2:
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = struct.unpack(">H", data[2:4])[0], 4
        elif length == 127:
            length, start = struct.unpack(">Q", data[2:10])[0], 10
        yield data[0] & 15, data[start : start + length]
        data = data[start + length :]


def complaint(attack: Attack, outcome: Outcome) -> str | None:
    """What is wrong with how the daemon met the attack, or None."""
    if not outcome.ended:
        return f"still open after {PATIENCE} s, having said {outcome}"
    if not outcome.answers:
        return "hung up without a word"
    for status, body in outcome.answers:
        if status not in attack.expected:
            return f"answered {status} {body[:200]!r}, not one of {attack.expected}"
        if status == 101:
            continue
        try:
            fault = json.loads(body)
        except ValueError:
            return f"answered {status} with what is no JSON: {body[:200]!r}"
        if fault.get("code") != status or not fault.get("detail") or not fault.get("id"):
            return f"answered {status} with what is no error JSON: {body[:200]!r}"
    if attack.codes and outcome.code not in attack.codes:
        return f"closed with {outcome.code}, not one of {attack.codes}"
    return None


def resident(daemon: Daemon) -> int:
    """Bytes that the daemon holds in memory."""
    return int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class HostileTests(SynchronousTestCase):
    timeout = 600

    def setUp(self) -> None:
        self.daemon = running_daemon([*FLAGS, "--idle_timeout=10s"])
        self.addCleanup(self.daemon.stop)

    def meet_all(self) -> list[str]:
        with ThreadPoolExecutor(AT_ONCE) as callers:
            everyone = attacks()
            outcomes = callers.map(lambda attack: meet(self.daemon.port, attack), everyone)
            pairs = [(attack, complaint(attack, outcome)) for attack, outcome in zip(everyone, outcomes, strict=True)]
        return [f"{attack.name}: {why}" for attack, why in pairs if why is not None]

    def test_each_is_turned_away(self) -> None:
        """Each gets a clear 4xx or close code, nothing slips in, and nothing is logged as an unhandled error."""
        self.assertGreater(len(attacks()), 200)
        self.assertEqual(self.meet_all(), [])
        self.assertEqual(self.daemon.request("GET", "/registry").json, [])
        alarms = [line for line in self.daemon.output.splitlines() if any(alarm in line for alarm in ALARMS)]
        self.assertEqual(alarms, [])

    def test_memory_returns(self) -> None:
        """Memory returns to where it was."""
        if not Path("/proc/self/statm").exists():
            self.skipTest("this system does not tell how much memory a process holds")
        self.meet_all()
        self.meet_all()
        before = resident(self.daemon)
        for _ in range(3):
            self.meet_all()
        deadline = time.monotonic() + 30
        while resident(self.daemon) > before + SLACK and time.monotonic() < deadline:
            time.sleep(0.5)
        self.assertLess(resident(self.daemon), before + SLACK)
