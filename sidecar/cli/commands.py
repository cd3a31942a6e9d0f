"""The client commands of ``micro``: each makes its requests and prints its answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from sidecar import __version__
from sidecar.cli import arguments, output
from sidecar.cli.api import Api, Failed, Trust
from sidecar.cli.arguments import Arguments, Wrong

USAGE = """\
Usage: micro [flags] COMMAND

Runs a sidecar, or talks to one.

Commands:
  sidecar                        run the sidecar; its flags: micro sidecar --help
  list services                  names of all services, one a line
  get service NAME               versions, nodes and endpoints of a service
  register service JSON          register {"name":...,"nodes":[{"address":...,"port":...}]}
  deregister service JSON        deregister the same
  call SERVICE METHOD [JSON]     call a method; also spelled query
  health SERVICE                 ask every node of a service how it is
  stats SERVICE                  ask every node of a service for its numbers
  publish TOPIC [BODY]           publish a message; without BODY, standard input
  subscribe TOPIC [--queue=Q]    print messages, one a line, until interrupted

Flags:
  --proxy_address=ADDRESS        the sidecar: host:port, https://host:port or unix:/path
                                 (default 127.0.0.1:8081) [MICRO_PROXY_ADDRESS]
  --ca_file=FILE                 authorities to trust on https, PEM [MICRO_CA_FILE]
  --cert_file=FILE, --key_file=FILE
                                 our certificate, where the sidecar wants one, PEM
  --insecure                     trust any certificate
  --timeout=SECONDS              how long to wait for an answer (default 60)
  --queue=NAME                   subscribe: share the messages with others of this queue
  --format=text|json             subscribe: print bodies, or whole messages (default text)
  --count=N                      subscribe: leave after N messages
  --help, --version
"""


def main(given: Sequence[str]) -> int:
    """:returns: the exit code."""
    try:
        parsed = arguments.parse(given)
        if "version" in parsed.flags:
            return _print(f"microsidecar {__version__}")
        words = parsed.words[1:] if parsed.words[:1] == ["registry"] else parsed.words
        if "help" in parsed.flags or not words or words == ["help"]:
            return _print(USAGE.rstrip("\n"))
        return _run(words, parsed)
    except (Failed, Wrong) as error:
        return _complain(str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130


def _run(words: list[str], parsed: Arguments) -> int:
    command, rest = words[0], words[1:]
    if command in ("list", "get", "register", "deregister"):
        what = "services" if command == "list" else "service"
        if rest[:1] not in ([what], [what.rstrip("s")], [f"{what}s"]):
            raise Wrong(f"{command} what? write: micro {command} {what}")
        rest = rest[1:]
    run = COMMANDS.get(command)
    if run is None:
        raise Wrong(f"{command!r} is not a command; see micro --help")
    return run(_api(parsed), rest, parsed)


def _api(parsed: Arguments) -> Api:
    flags = parsed.flags
    try:
        timeout = float(flags.get("timeout", "60").removesuffix("s"))
    except ValueError:
        timeout = 0.0
    if not 0 < timeout < 1e6:
        raise Wrong(f"--timeout={flags['timeout']}: write seconds, such as 10")
    trust = Trust(
        flags.get("ca_file") or os.environ.get("MICRO_CA_FILE", ""),
        flags.get("cert_file", ""),
        flags.get("key_file", ""),
        "insecure" in flags,
    )
    return Api(arguments.address(parsed, os.environ), trust, timeout)


def _list(api: Api, words: list[str], parsed: Arguments) -> int:
    listed = api.registry()
    if not isinstance(listed, list):
        raise Failed(f"{api.address} answered no list of services; is it a sidecar?")
    return _print(output.names(listed)) if listed else 0


def _get(api: Api, words: list[str], parsed: Arguments) -> int:
    return _print(output.described(_service(api, words)))


def _service(api: Api, words: list[str]) -> list[dict[str, Any]]:
    if not words:
        raise Wrong("require service name")
    found = api.registry(words[0])
    versions = found if isinstance(found, list) else [found]
    if not versions or not all(isinstance(version, dict) for version in versions):
        raise Failed("Service not found")
    return versions


def _register(api: Api, words: list[str], parsed: Arguments) -> int:
    api.ask("POST", "/registry", _definition(words), {"Content-Type": "application/json"})
    return _print("ok")


def _deregister(api: Api, words: list[str], parsed: Arguments) -> int:
    api.ask("DELETE", "/registry", _definition(words), {"Content-Type": "application/json"})
    return _print("ok")


def _definition(words: list[str]) -> bytes:
    if not words:
        raise Wrong("require service definition")
    return " ".join(words).encode("utf-8", "surrogateescape")


def _call(api: Api, words: list[str], parsed: Arguments) -> int:
    if len(words) < 2:
        raise Wrong("require service and method")
    try:
        return _print(output.indented(api.rpc(words[0], words[1], " ".join(words[2:]) or "{}")))
    except Failed as error:
        # The whole error: its code and id say which side it came from.
        return _complain(output.indented(error.body) if error.body.startswith("{") else str(error), bare=True)


def _health(api: Api, words: list[str], parsed: Arguments) -> int:
    def line(node: dict[str, Any], answer: dict[str, Any]) -> str:
        return output.health_line(node, str(answer.get("status", "")))

    return _each_node(api, words, "Debug.Health", "node\t\taddress:port\t\tstatus", line)


def _stats(api: Api, words: list[str], parsed: Arguments) -> int:
    head = "node\t\taddress:port\t\tstarted\tuptime\tmemory\tthreads\tgc"
    return _each_node(api, words, "Debug.Stats", head, output.stats_line)


def _each_node(
    api: Api, words: list[str], method: str, head: str, line: Callable[[dict[str, Any], dict[str, Any]], str]
) -> int:
    """Ask every node by itself. One that fails has its error in its row, and makes the exit code 1."""
    versions = _service(api, words)
    name, code = str(versions[0].get("name", words[0])), 0
    lines = [f"service  {name}"]
    for version in versions:
        lines += [f"\nversion {version.get('version') or ''}", f"\n{head}"]
        for node in version.get("nodes") or []:
            answer = _asked(api, name, method, node)
            if isinstance(answer, dict):
                lines.append(line(node, answer))
            else:
                lines.append(output.health_line(node, answer))
                code = _complain(f"{node.get('id', '')}: {answer}")
    _print("\n".join(lines))
    return code


def _asked(api: Api, service: str, method: str, node: dict[str, Any]) -> dict[str, Any] | str:
    """:returns: what the node answered, or in words why it did not."""
    try:
        answer = json.loads(api.rpc(service, method, "{}", output.joined(node)))
    except (Failed, ValueError) as error:
        return str(error)
    return answer if isinstance(answer, dict) else {}


def _publish(api: Api, words: list[str], parsed: Arguments) -> int:
    if not words:
        raise Wrong("require topic and message")
    body = " ".join(words[1:]).encode("utf-8", "surrogateescape") if words[1:] else sys.stdin.buffer.read()
    api.ask("POST", f"/broker?topic={quote(words[0], safe='')}", body, {"Content-Type": _kind(body)})
    return _print("ok")


def _kind(body: bytes) -> str:
    try:
        json.loads(body)
        return "application/json"
    except (ValueError, RecursionError):
        pass  # not JSON; what else it is, follows
    try:
        body.decode()
        return "text/plain"
    except UnicodeDecodeError:
        return "application/octet-stream"


def _subscribe(api: Api, words: list[str], parsed: Arguments) -> int:
    if len(words) != 1:
        raise Wrong("require topic")
    count = parsed.flags.get("count", "0")
    if not count.isdigit():
        raise Wrong(f"--count={count}: write a number of messages")
    form = parsed.flags.get("format", "text")
    if form not in ("text", "json"):
        raise Wrong(f"--format={form}: it is text or json")
    # Imported here: the other commands should not wait for Twisted.
    from sidecar.cli.subscribe import subscribe

    return subscribe(api, words[0], parsed.flags.get("queue"), form, int(count))


COMMANDS: dict[str, Callable[[Api, list[str], Arguments], int]] = {
    "list": _list,
    "get": _get,
    "register": _register,
    "deregister": _deregister,
    "call": _call,
    "query": _call,
    "health": _health,
    "stats": _stats,
    "publish": _publish,
    "subscribe": _subscribe,
}


def _print(text: str) -> int:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    return 0


def _complain(text: str, bare: bool = False) -> int:
    """:param bare: without our name before it. :returns: the exit code of a failure."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n" if bare else f"micro: {text}\n")
    sys.stderr.flush()
    return 1
