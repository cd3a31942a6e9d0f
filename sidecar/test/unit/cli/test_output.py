"""The client commands read their arguments and print as the original did."""

from __future__ import annotations

import json
import os
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sidecar.cli import arguments, output
from sidecar.cli.api import Api, Failed, Trust

SERVICE = {
    "name": "go.micro.srv.x",
    "version": "1.0",
    "nodes": [{"id": "x-1", "address": "127.0.0.1", "port": 9191, "metadata": {"c": "d", "a": "b"}}],
    "endpoints": [
        {
            "name": "Say.Hello",
            "request": {
                "name": "Request",
                "type": "Request",
                "values": [
                    {"name": "userName", "type": "string"},
                    {"name": "inner", "type": "T", "values": [{"name": "HTTPId", "type": "int64"}]},
                ],
            },
            "response": None,
            "metadata": {"stream": "false"},
        }
    ],
}
DESCRIBED = """\
service  go.micro.srv.x

version 1.0

Id\tAddress\tPort\tMetadata
x-1\t127.0.0.1\t9191\ta=b,c=d

Endpoint: Say.Hello
Metadata: stream=false

Request: {
\tuser_name string
\tinner T {
\t\thttp_id int64
\t}
}

Response: {}
"""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class PrintingTests(SynchronousTestCase):
    def test_describes_a_service(self) -> None:
        """Versions, nodes and endpoints, laid out as micro did."""
        self.assertEqual(output.described([SERVICE]), DESCRIBED)

    def test_reads_what_go_writes(self) -> None:
        """Nulls, capital keys and joined addresses are all met in the wild."""
        service = {"Name": "x", "Version": None, "Nodes": [{"Id": "1", "Address": "[::1]:80"}], "endpoints": None}
        self.assertIn("1\t[::1]\t80\t", output.described([service]))
        self.assertEqual(output.joined({"address": "::1", "port": 80}), "[::1]:80")
        self.assertEqual(output.joined({"address": "a:80", "port": 0}), "a:80")

    def test_names(self) -> None:
        """Sorted, one a line, from names or from objects."""
        self.assertEqual(output.names([{"name": "b"}, {"name": "a", "nodes": None}]), "a\nb")
        self.assertEqual(output.names(["b", "a", "b"]), "a\nb")

    def test_indents_as_go_does(self) -> None:
        """Tabs, nothing inside empty brackets, and every number as it was written."""
        given_text = '{"a":[1,{"b":1.10}],"e":[],"o":{ },"n":123456789012345678901.50,"s":"x\\"{,}: y"}'
        expected = (
            '{\n\t"a": [\n\t\t1,\n\t\t{\n\t\t\t"b": 1.10\n\t\t}\n\t],\n\t"e": [],\n\t"o": {},'
            '\n\t"n": 123456789012345678901.50,\n\t"s": "x\\"{,}: y"\n}'
        )
        self.assertEqual(output.indented(given_text), expected)
        self.assertEqual(output.indented("not json"), "not json")
        self.assertEqual(output.indented("null\n"), "null")

    @given(json_values)
    def test_indenting_changes_nothing(self, value: object) -> None:
        """It is the same JSON, whatever it is."""
        for text in (json.dumps(value), json.dumps(value, indent=3, ensure_ascii=False)):
            self.assertEqual(json.loads(output.indented(text)), value)

    def set_zone(self, zone: str | None) -> None:
        os.environ.pop("TZ", None)
        if zone is not None:
            os.environ["TZ"] = zone

    def test_stats(self) -> None:
        """Time of day, Go durations and megabytes, from numbers or from strings of digits."""
        self.addCleanup(time.tzset)
        self.addCleanup(self.set_zone, os.environ.get("TZ"))
        self.set_zone("UTC")
        time.tzset()
        stats = {"started": "1500000000", "uptime": 3725, "memory": 12345678, "threads": 7, "gc": 1234567}
        self.assertEqual(
            output.stats_line({"id": "x-1", "address": "::1", "port": 80}, stats),
            "x-1\t\t[::1]:80\t\tJul 14 02:40:00\t1h2m5s\t11.77mb\t7\t1.234567ms",
        )


class ArgumentsTests(SynchronousTestCase):
    def test_whose_command_it_is(self) -> None:
        """The word decides, or a flag that only the daemon has; values are not words."""
        for line in ("sidecar", "--enable_stats sidecar", "--proxy_address x sidecar", "--proxy_address=x sidecar"):
            self.assertTrue(arguments.is_for_the_daemon(line.split()), line)
        for line in ("", "list services", "--proxy_address sidecar list services", "--help", "call sidecar sidecar"):
            self.assertFalse(arguments.is_for_the_daemon(line.split()), line)
        for line in ("--port=1 list services", "--proxy_address=h:1 --port 1 list services"):
            wrong = self.assertRaises(arguments.Wrong, arguments.is_for_the_daemon, line.split())
            self.assertTrue(str(wrong).startswith("--port is no flag of the client commands"), wrong)

    def test_flags_anywhere(self) -> None:
        """Before or after the words, in either spelling; negative numbers and what follows -- are words."""
        for line in (
            "--proxy-address=x:1 call S M -5",
            "call --proxy_address x:1 S M -5",
            "call S M -5 --proxy_address x:1",
        ):
            parsed = arguments.parse(line.split(), {})
            self.assertEqual((parsed.words, parsed.flags), (["S", "M", "-5"], {"proxy_address": ["x:1"]}))
        self.assertEqual(arguments.parse(["publish", "t", "--", "--body"], {}).words, ["t", "--body"])
        self.assertRaises(arguments.Wrong, arguments.parse, ["--nonsense"], {})
        self.assertRaises(arguments.Wrong, arguments.parse, ["list", "services", "--proxy_address"], {})

    def test_where_the_sidecar_is(self) -> None:
        """Flag, then environment, then the default; an empty variable is none."""

        def address(line: str, variable: str) -> str:
            return arguments.parse(line.split(), {"MICRO_PROXY_ADDRESS": variable}).text("proxy_address")

        self.assertEqual(address("--proxy_address=a:1", "b:2"), "a:1")
        self.assertEqual(address("", "b:2"), "b:2")
        self.assertEqual(address("", ""), "127.0.0.1:8081")

    def test_addresses(self) -> None:
        """With and without a scheme, with a path, on a Unix socket; nonsense is refused."""

        def parts(address: str) -> tuple[bool, str, int, str, str]:
            api = Api(address, Trust(), 1.0)
            return api.secure, api.host, api.port, api.path, api.unix

        self.assertEqual(parts("127.0.0.1:8081"), (False, "127.0.0.1", 8081, "", ""))
        self.assertEqual(parts("https://h/micro/"), (True, "h", 443, "/micro", ""))
        self.assertEqual(parts("http://[::1]:1"), (False, "::1", 1, "", ""))
        self.assertEqual(parts("unix:/run/x.sock")[4], "/run/x.sock")
        for address in ("ftp://x", "http://", "x:notaport", ":80"):
            self.assertRaises(Failed, Api, address, Trust(), 1.0)


class VisibleTests(SynchronousTestCase):
    def test_what_a_terminal_would_obey(self) -> None:
        """Control characters are shown in escapes, so that JSON stays JSON; text, tabs, lines and colours stay."""
        self.assertEqual(output.visible("a\x1b[2J\x07\x9b\r"), "a\\u001b[2J\\u0007\\u009b\\u000d")
        for text in ("größe\t1\n", "\x1b[31mFAULT\x1b[0m"):
            self.assertEqual(output.visible(text), text)


class AddressTests(SynchronousTestCase):
    def test_secrets_of_the_address(self) -> None:
        """What stands before the host and behind the path is in no message."""
        api = Api("http://u:hidden@127.0.0.1:1/x?y=hidden", Trust(), 1.0)
        self.assertNotIn("hidden", str(self.assertRaises(Failed, api.registry)))
