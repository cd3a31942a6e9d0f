"""What the dashboard keeps out and keeps up: tokens, what would be markup, who cannot see, thousands of nodes."""

from __future__ import annotations

import json
import os
from http import HTTPStatus
from pathlib import Path

from sidecar.test.acceptance.test_dashboard import JSON, SHAPE, DashboardCase
from sidecar.test.doubles.programs.browser import Browser
from sidecar.test.doubles.programs.daemon import Daemon
from sidecar.test.doubles.programs.process import BIN, checkout, free_port
from sidecar.web.access import tokenfile
from sidecar.web.access.grants import Grant
from sidecar.web.access.tokenfile import Token, digest_of, make

EVIL = "<img src=x onerror=window.hacked=1>\"'><script>window.hacked=1</script>"
#: Where ``.ci/run`` puts it, beside the programs that tests need.
AXE = Path(os.environ.get(BIN) or checkout() / "interop" / "bin") / "axe.min.js"
_SECTIONS = ("overview", "services", "services/greeter", "topics", "errors")
_CHECK = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  (found) => done(found.violations.filter((one) => ["serious", "critical"].includes(one.impact)).map(
    (one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).slice(0, 3).join(" | ")}`)),
  (error) => done([String(error)]));
"""


class Guarded(DashboardCase):
    def populated(self) -> Daemon:
        """A daemon with a service whose only node is not there, a call that failed for it, and a topic."""
        sidecar = self.daemon()
        node = {"id": "greeter-1", "address": "127.0.0.1", "port": free_port()}
        body = json.dumps({"name": "greeter", "version": "1.4.2", "endpoints": SHAPE, "nodes": [node]})
        sidecar.request("POST", "/registry", body, JSON)
        sidecar.request("POST", "/rpc", '{"service":"greeter","method":"Say.Hello","request":{}}', JSON)
        sidecar.request("POST", "/broker?topic=orders", "{}", JSON)
        return sidecar

    def visit(self, browser: Browser, section: str) -> None:
        """Go to a section, and wait until it shows what it has."""
        browser.script("location.hash = '#/' + arguments[0]", section)
        browser.until(lambda: browser.count("main h1"), section)
        words = {"overview": "memory", "services": "greeter", "services/greeter": "refused", "topics": "All topics"}
        browser.see("main", words.get(section, "nobody took it"))

    def test_tokens(self) -> None:
        """The page asks for a token, says why one is no good, keeps it in memory alone, opens its streams by tickets,
        and does nothing that its roles are not for."""
        path = Path(self.mktemp())
        reader, caller = make(), make()
        tokenfile.write(
            str(path),
            [
                Token(Grant("reader", frozenset({"read"})), digest_of(reader.encode())),
                Token(Grant("caller", frozenset({"read", "call", "subscribe"})), digest_of(caller.encode())),
            ],
        )
        sidecar = self.daemon(f"--auth_tokens={path.absolute()}")
        browser = self.browser()
        browser.open(f"{sidecar.url}/stats")
        browser.see("#login", "asks for a token")
        browser.fill("Token", "micro_wrong")
        browser.button("Show it").click()
        browser.see("#login-why", "not known here")
        self.assertEqual(browser.text("#connection"), "connecting")
        browser.fill("Token", reader)
        browser.button("Show it").click()
        browser.see("#connection", "live")
        browser.see(".cards", "Calls a second")
        browser.script("location.hash = '#/services/greeter'")
        browser.fill("Method", "Say.Hello", "Test call")
        browser.button("Call").click()
        browser.see(".result", f"Failed with {HTTPStatus.FORBIDDEN:d}", "role call")
        browser.script("location.hash = '#/topics'")
        browser.fill("Topic", "orders", "Publish")
        browser.button("Publish").click()
        browser.see("[aria-label=Publish] [role=status]", "Not published", "role publish")
        kept = browser.script("return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        self.assertEqual(kept, '[{},{},""]')
        self.assertEqual([url for url in browser.requests() if reader in url], [])
        self.assertTrue([url for url in browser.requests() if "/live?" in url and "ticket=" in url])
        browser.open(f"{sidecar.url}/stats?again#/topics")  # loaded again, it has forgotten the token
        browser.see("#login", "asks for a token")
        browser.fill("Token", caller)
        browser.button("Show it").click()
        browser.see("#connection", "live")
        browser.fill("Topic", "orders", "Follow a topic")
        browser.button("Follow").click()
        browser.see("[aria-label='Follow a topic'] [role=status]", "nothing came yet")
        self.check_quiet(browser, sidecar.port)

    def test_text_is_text(self) -> None:
        """Names, metadata, versions, endpoints, topics, errors and messages are shown as text, whatever they hold."""
        sidecar = self.daemon()
        node = self.node()
        value = {"name": EVIL, "type": EVIL, "values": []}
        request = {"name": "Request", "type": "Request", "values": [value]}
        endpoint = {
            "name": EVIL,
            "request": request,
            "response": request,
            "metadata": {"description": EVIL, EVIL: EVIL},
        }
        body = {
            "name": EVIL,
            "version": EVIL,
            "endpoints": [endpoint],
            "nodes": [{"id": EVIL, "address": "127.0.0.1", "port": node.port, "metadata": {EVIL: EVIL}}],
        }
        self.assertEqual(sidecar.request("POST", "/registry", json.dumps(body), JSON).status, 200)
        call = {"service": EVIL, "method": EVIL, "request": {"fail": EVIL}}
        self.assertEqual(sidecar.request("POST", "/rpc", json.dumps(call), JSON).status, 500)
        browser = self.browser()
        browser.open(f"{sidecar.url}/stats#/services")
        browser.see("[aria-label='All services']", EVIL)
        browser.script("document.querySelector('tbody a').click()")
        browser.see("main h1", EVIL)
        browser.see("[aria-label=Nodes]", EVIL)
        browser.see("[aria-label=Endpoints]", EVIL)
        browser.see("[aria-label=Journal]", EVIL)
        browser.script("location.hash = '#/errors'")
        browser.see(".calls", EVIL)
        browser.script("document.querySelector('details').open = true")
        browser.see(".inner", EVIL)
        browser.script("location.hash = '#/topics/' + encodeURIComponent(arguments[0])", EVIL)
        browser.button("Follow").click()
        browser.see("[aria-label='All topics']", EVIL)
        browser.fill("Message", EVIL, "Publish")
        browser.button("Publish").click()
        browser.see(".messages", EVIL)
        self.assertIs(browser.script("return window.hacked === undefined"), True)
        self.assertEqual(browser.count("main img, main script"), 0)
        self.check_quiet(browser, sidecar.port)

    def test_accessible(self) -> None:
        """axe-core finds nothing serious in any section, in light, in dark and at 360 px."""
        if not AXE.exists():
            self.skipTest(f"not installed: axe.min.js of axe-core (npm) in ${BIN}")
        sidecar = self.populated()
        browser = self.browser()
        browser.open(f"{sidecar.url}/stats")
        browser.see("#connection", "live")
        browser.script(AXE.read_text(encoding="utf-8"))
        for width, dark in ((1280, False), (1280, True), (360, False)):
            browser.show(width, dark=dark)
            for section in _SECTIONS:
                self.visit(browser, section)
                if section == "errors":
                    browser.script("document.querySelector('details').open = true")
                    browser.see(".receipt", "greeter-1")
                found = browser.driver.execute_async_script(_CHECK)
                self.assertEqual(found, [], f"{section} at {width} px, {'dark' if dark else 'light'}")

    def test_narrow_and_keyboard(self) -> None:
        """At 360 px nothing is wider than the screen; the keyboard reaches the content, and the focus follows."""
        sidecar = self.populated()
        browser = self.browser()
        browser.show(360, 780)
        browser.open(f"{sidecar.url}/stats")
        for section in _SECTIONS:
            self.visit(browser, section)
            self.assertLessEqual(browser.script("return document.documentElement.scrollWidth"), 360, section)
        browser.open(f"{sidecar.url}/stats?again")
        browser.see("#connection", "live")
        focused = "return document.activeElement.textContent || document.activeElement.id"
        keys = browser.driver.switch_to.active_element
        keys.send_keys("\ue004")
        self.assertEqual(browser.script(focused), "To the content")
        for _ in range(3):
            browser.driver.switch_to.active_element.send_keys("\ue004")
        self.assertEqual(browser.script(focused), "Services")
        browser.driver.switch_to.active_element.send_keys("\ue007")
        browser.see("main h1", "Services")
        self.assertEqual(browser.script("return document.activeElement.id"), "main")
        self.assertEqual(browser.text("nav [aria-current=page]"), "Services")

    def test_thousands(self) -> None:
        """Of 1,000 services and of a service's thousands of nodes a page is shown, all are found, and no task of the
        page is long."""
        sidecar = self.daemon()
        for number in range(1000):
            nodes = [{"id": f"s{number}-{one}", "address": "127.0.0.1", "port": 1024 + one} for one in range(5)]
            if number == 7:
                nodes = [{"id": f"s7-{one}", "address": "127.0.0.1", "port": 1024 + one} for one in range(5000)]
            for start in range(0, len(nodes), 500):
                body = json.dumps({"name": f"service.{number}", "nodes": nodes[start : start + 500]})
                self.assertEqual(sidecar.request("POST", "/registry", body, JSON).status, 200)
        browser = self.browser()
        browser.open(f"{sidecar.url}/stats#/services")
        browser.script(
            "window.long = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) "
            "window.long = Math.max(window.long, one.duration); }).observe({type: 'longtask', buffered: true})"
        )
        browser.see(".pager", "1 to 50 of 1,000 services")
        self.assertEqual(browser.count("tbody tr"), 50)
        browser.button("Further").click()
        browser.see(".pager", "51 to 100 of 1,000 services")
        browser.fill("Find", "service.999")
        browser.see("tbody", "service.999", "5 up")
        browser.script("location.hash = '#/services/service.7'")
        browser.see("[aria-label=Nodes] .pager", "1 to 50 of 5,000 nodes")
        self.assertEqual(browser.count("[aria-label=Nodes] tbody tr"), 50)
        browser.until(lambda: browser.text("#connection") == "live", "connected")
        self.assertLess(browser.count("*"), 3000)
        if os.environ.get("MICROSIDECAR_PICTURES"):
            print(f"the longest task of the page took {browser.script('return window.long'):.0f} ms")
        self.check_quiet(browser, sidecar.port)
