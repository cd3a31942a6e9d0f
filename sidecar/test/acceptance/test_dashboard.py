"""The dashboard in a real browser: it renders, lives, finds what fails and why, calls, follows, drains, and comes back.

With ``MICROSIDECAR_PICTURES`` set to a directory, pictures of it are kept there: those of the README are made so.
"""

from __future__ import annotations

import os
import re
import signal
from http.client import HTTPException
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sidecar.test.doubles.clients.traffic import Repeating
from sidecar.test.doubles.programs.browser import Browser, no_browser
from sidecar.test.doubles.programs.daemon import Daemon, running_daemon
from sidecar.test.doubles.programs.node import NodeProcess
from sidecar.test.doubles.programs.process import free_port

SHAPE = (
    {
        "name": "Say.Hello",
        "request": {
            "name": "Request",
            "type": "Request",
            "values": [
                {"name": "name", "type": "string"},
                {"name": "times", "type": "int64"},
                {"name": "polite", "type": "bool"},
                {"name": "address", "type": "Address", "values": [{"name": "city", "type": "string"}]},
                {"name": "fail", "type": "string"},
            ],
        },
        "response": {"name": "Response", "type": "Response", "values": [{"name": "asked", "type": "Request"}]},
        "metadata": {"description": "Greets somebody"},
    },
)
JSON = {"Content-Type": "application/json"}
PICTURES = os.environ.get("MICROSIDECAR_PICTURES")


class DashboardCase(SynchronousTestCase):
    """A daemon with the dashboard, and a browser."""

    timeout = 600
    skip = no_browser()

    def daemon(self, *flags: str) -> Daemon:
        daemon = running_daemon(["--enable_stats", *flags])
        self.addCleanup(daemon.stop)
        return daemon

    def browser(self) -> Browser:
        browser = Browser.start()
        self.addCleanup(browser.stop)
        browser.show()
        return browser

    def node(self) -> NodeProcess:
        node = NodeProcess.start()
        self.addCleanup(node.stop)
        return node

    def check_quiet(self, browser: Browser, *ports: int) -> None:
        """The console has no error, and nothing was asked of anybody but the sidecar."""
        self.assertEqual(browser.complaints(), [])
        for port in ports:
            self.assertEqual(browser.strangers(port), [])

    def keep(self, browser: Browser, name: str, *, top: bool = True) -> None:
        """Keep a picture, where pictures are wanted. :param top: of the page's beginning."""
        if PICTURES:
            if top:
                browser.script("scrollTo(0, 0)")
            browser.picture(Path(PICTURES) / f"{name}.png")


class Journey(DashboardCase):
    def call(self) -> None:
        """One call, whose failure is no fault of the test's: nodes are killed under it."""
        try:
            body = '{"service":"greeter","method":"Say.Hello","request":{"name":"John"}}'
            self.sidecar.request("POST", "/rpc", body, {**JSON, "Timeout": "2s"})
        except (OSError, HTTPException):
            pass

    def test_failing_nodes(self) -> None:
        """Under load over three nodes one is killed and one hangs: both are red with their reasons, calls and their
        receipts are seen, and the console stays silent."""
        nodes = [self.node() for _ in range(3)]
        address = f"127.0.0.1:{self.node().port}"
        self.sidecar = sidecar = self.daemon(
            "--access_log=all",  # of errors alone, many alike are left out
            "--server_name=shop.web",
            f"--server_address={address}",
            f"--healthcheck_url=http://{address}/",
        )
        for number, node in enumerate(nodes, 1):
            node.register(sidecar, "greeter", f"greeter-{number}", SHAPE, zone=f"eu-{number}")
        browser = self.browser()
        with Repeating(self.call, 0.02), Repeating(self.call, 0.03):
            browser.open(f"{sidecar.url}/stats")
            browser.see("#connection", "live")
            browser.see("#about", "microsidecar", "up")
            browser.until(lambda: float(browser.text(".card b").split("\n")[0] or 0) > 0, "calls a second")
            browser.until(lambda: browser.count("canvas") == 4, "four graphs")
            self.assertIn("memory", browser.text("[aria-label='Registry and broker']"))
            self.check_quiet(browser, sidecar.port)
            browser.script("location.hash = '#/services'")
            browser.see("tbody", "greeter", "3 up")
            browser.script("location.hash = '#/services/greeter'")
            browser.see("main h1", "greeter")
            browser.see("[aria-label=Nodes]", "in service", "zone=eu-1", "by caller 127.0.0.1")
            browser.see("[aria-label=Endpoints]", "Say.Hello", "Greets somebody", "name string, times int64")
            browser.see("[aria-label=Journal]", "came", "registered", "greeter-3")
            self.check_call(browser)
            if PICTURES:  # graphs that show something
                browser.until(lambda: re.search(r"up (5\d seconds|\d+ minute)", browser.text("#about")), "a minute")
            nodes[1].kill()
            nodes[2].hang()
            browser.see("[aria-label=Nodes] tr.bad", "greeter-2", "greeter-3", "refused", "no answer in")
            self.keep(browser, "dashboard-service")
            browser.script("location.hash = '#/errors'")
            browser.fill("Find", "greeter-3")
            browser.see(".calls", "no answer in time")
            browser.script("document.querySelector('details').open = true")
            browser.see(".receipt", "greeter-3", "Request id")
            self.check_told(browser, sidecar)
            browser.fill("Service", "greeter", "Live tap")
            browser.button("Watch calls").click()
            browser.see("[aria-label='Live tap'] .calls", "answered", "greeter Say.Hello")
            self.keep(browser, "dashboard-errors")
            self.check_quiet(browser, sidecar.port)
            browser.script("location.hash = '#/services'")
            browser.see("tr.bad", "greeter", "2 of 3 failing")
            browser.script("location.hash = '#/overview'")
            browser.see(".cards", "1 has a failing node")
            browser.show(dark=True)
            browser.until(lambda: browser.count("canvas") == 4, "four graphs")
            self.keep(browser, "dashboard-dark")
            self.check_left(browser, sidecar)
            browser.script("location.hash = '#/overview'")
            browser.until(lambda: browser.count("canvas") == 4, "four graphs")
            browser.show(360, 780)
            self.keep(browser, "dashboard-narrow")

    def check_told(self, browser: Browser, sidecar: Daemon) -> None:
        """What the page shows is told elsewhere too: a failed call by its id in the log, why by ``/explain``."""
        id = browser.text(".receipt code").split("\n")[0]
        browser.until(lambda: f'"request_id": "{id}"' in sidecar.output, f"{id} in the log")

        def reasons() -> bool:
            nodes = sidecar.request("GET", "/explain?service=greeter").json["nodes"]
            why = {node["id"]: node["why"] for node in nodes}
            return "refused" in why["greeter-2"] and "timed out" in why["greeter-3"]

        browser.until(reasons, "the reasons of /explain")

    def check_left(self, browser: Browser, sidecar: Daemon) -> None:
        """A node that somebody takes out stands in the journal with when and why, and in the catalog as it was."""
        came = sidecar.request("GET", "/journal?service=greeter").json[-1]["at"]
        body = '{"name":"greeter","version":"1.4.2","nodes":[{"id":"greeter-2"}]}'
        self.assertEqual(sidecar.request("DELETE", "/registry", body, JSON).status, 200)
        browser.script("location.hash = '#/services/greeter'")
        browser.see("[aria-label=Journal]", "left", "deregistered", "greeter-2")
        browser.until(lambda: "greeter-2" not in browser.text("[aria-label=Nodes]"), "greeter-2 is gone")
        before = sidecar.request("GET", f"/registry?service=greeter&at={came}").json
        self.assertEqual({node["id"] for node in before["nodes"]}, {"greeter-1", "greeter-2", "greeter-3"})

    def check_call(self, browser: Browser) -> None:
        """The form that was made of the shape calls, and the receipt is drawn, good or bad."""
        browser.fill("name", "Jane", "Test call")
        browser.fill("times", "3", "Test call")
        browser.fill("city", "Ulm", "Test call")
        browser.button("Call").click()
        said = browser.see("[aria-label='Test call'] .result", "Answered after", "greeter-", "answered")
        self.assertIn('"city": "Ulm"', said)
        self.assertIn('"times": 3', said)
        self.assertEqual(browser.count(".result .lane"), browser.count(".result .timeline li"))
        browser.fill("fail", "out of tea", "Test call")
        browser.button("Call").click()
        browser.see(
            "[aria-label='Test call'] .result", "Failed with 500", "out of tea", "the service answered an error"
        )

    def test_topics(self) -> None:
        """A topic is followed over a WebSocket, published to by the form, and counted."""
        sidecar = self.daemon()
        browser = self.browser()
        browser.open(f"{sidecar.url}/stats#/topics")
        browser.fill("Topic", "orders", "Follow a topic")
        browser.button("Follow").click()
        browser.see("[aria-label='All topics']", "orders")
        browser.fill("Topic", "orders", "Publish")
        browser.fill("Message", '{"cups": 2, "of": "tea – grün"}', "Publish")
        browser.button("Publish").click()
        browser.see(".messages", '{"cups": 2, "of": "tea – grün"}', "application/json")
        browser.see("[aria-label=Publish] [role=status]", "Published to orders")
        browser.button("Stop").click()
        browser.see("[aria-label='Follow a topic'] [role=status]", "Stopped")
        browser.until(lambda: "orders\t1" not in browser.text("[aria-label='All topics'] tr"), "nobody listens")
        self.check_quiet(browser, sidecar.port)

    def test_drain(self) -> None:
        """An app is taken out of the registry at a second click, and comes back at one."""
        app = self.node()
        address = f"127.0.0.1:{app.port}"
        sidecar = self.daemon(
            "--server_name=shop.web", f"--server_address={address}", f"--healthcheck_url=http://{address}/"
        )
        browser = self.browser()
        browser.open(f"{sidecar.url}/stats")
        panel = "[aria-label='Our apps']"
        browser.see(panel, "shop.web", "healthy", "answered 200")

        def drain() -> bool:
            # The second click has to come within seconds of the first.
            label = "Really drain shop.web?" if "Really" in browser.text(f"{panel} button") else "Drain"
            browser.button(label).click()
            return "leaves the registry" in (text := browser.text(panel)) or "is drained" in text

        browser.until(drain, "two clicks")
        browser.see(panel, "shop.web is drained: it is safe to stop it.", "out of the registry")
        self.assertEqual(sidecar.request("GET", "/registry?service=shop.web").status, 404)
        browser.button("Bring back").click()
        browser.see(panel, "shop.web is back in the registry.", "healthy")
        self.assertEqual(sidecar.request("GET", "/registry?service=shop.web").status, 200)
        browser.script("location.hash = '#/services/shop.web'")
        browser.see("[aria-label=Journal]", "left", "drained", "came")
        self.check_quiet(browser, sidecar.port)

    def test_restart(self) -> None:
        """A page says when the sidecar is gone, and is whole again when it is back, with what is true then."""
        port = free_port()
        before = self.daemon(f"--address=127.0.0.1:{port}")
        node = self.node()
        node.register(before, "greeter", "greeter-1")
        browser = self.browser()
        browser.open(f"{before.url}/stats#/services")
        browser.see("[aria-label='All services']", "greeter", "1 up")
        before.signal(signal.SIGKILL)
        before.wait()
        browser.see("#connection", "not connected", "trying again")
        after = self.daemon(f"--address=127.0.0.1:{port}")
        node.register(after, "other", "other-1")
        browser.until(lambda: browser.text("#connection") == "live", "connected again")
        browser.see("tbody", "other", "1 up")
        self.assertNotIn("greeter", browser.text("tbody"))
        browser.script("location.hash = '#/overview'")
        browser.see(".cards", "Calls a second")
        browser.until(lambda: browser.count("canvas") == 4, "four graphs")
        self.check_quiet(browser, port)
