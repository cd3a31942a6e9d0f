"""Starts a real browser, Debian's Chromium, and looks at pages of ours in it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

from sidecar.test.doubles.programs.process import find_program, missing

PATIENCE = 60.0
_ATTEMPTS = 3
#: Nothing but the pages: no first run, no updates, no name that is looked up.
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--lang=en-US",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def no_browser() -> str | None:
    """:returns: why there is no browser here, for a test's ``skip``; None where there is one."""
    reason = missing("chromium", "chromedriver")
    if reason is None and importlib.util.find_spec("selenium") is None:
        reason = "not installed: selenium (PyPI)"
    return reason


@define(eq=False)
class Browser:
    """A browser with one page. :ivar driver: selenium's."""

    driver: Any
    _profile: str
    _requests: list[str] = field(factory=list)

    @classmethod
    def start(cls, attempts: int = 3) -> Browser:
        """Start one, with a profile of its own. :param attempts: on a machine that is busy enough a browser is not
        there in the driver's own patience."""
        from selenium.common.exceptions import WebDriverException

        try:
            return cls._started()
        except WebDriverException:
            if attempts <= 1:
                raise
            return cls.start(attempts - 1)

    @classmethod
    def _started(cls) -> Browser:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        profile = tempfile.mkdtemp(prefix="chromium-")
        options = webdriver.ChromeOptions()
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.binary_location = find_program("chromium") or ""
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(find_program("chromedriver")))
        driver.set_page_load_timeout(PATIENCE)
        driver.set_script_timeout(PATIENCE)
        return cls(driver, profile)

    def stop(self) -> None:
        """End it and remove its profile."""
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def show(self, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Have the page be shown in this size, in these colours."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def open(self, url: str) -> None:
        """Load a page."""
        self.driver.get(url)

    def script(self, text: str, *arguments: object) -> Any:
        """Run a script in the page. :returns: what it returns."""
        return self.driver.execute_script(text, *arguments)

    def text(self, selector: str) -> str:
        """The text of all elements that a CSS selector finds, "" for none."""
        found: str = self.script(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText).join('\\n')", selector
        )
        return found

    def count(self, selector: str) -> int:
        """How many elements a CSS selector finds."""
        found: int = self.script("return document.querySelectorAll(arguments[0]).length", selector)
        return found

    def button(self, label: str) -> Any:
        """The visible button of this text, waited for."""
        text = "return [...document.querySelectorAll('button')].find((one) => one.textContent === arguments[0]"
        return self.until(lambda: self.script(f"{text} && one.offsetParent)", label), f"a button {label!r}")

    def labelled(self, label: str, panel: str = "") -> Any:
        """The input with this label, waited for. :param panel: the title of the part of the page that it is in."""
        text = (
            "const part = arguments[1] ? document.querySelector(`[aria-label='${arguments[1]}']`) : document;"
            "const found = [...(part?.querySelectorAll('label') ?? [])].find((one) => "
            "one.firstChild.textContent === arguments[0]); return found?.control"
        )
        return self.until(lambda: self.script(text, label, panel), f"an input {label!r}")

    def fill(self, label: str, text: str, panel: str = "") -> None:
        """Type into the input with this label, in place of what is there."""
        found = self.labelled(label, panel)
        found.clear()
        found.send_keys(text)

    def until(self, ready: Callable[[], Any], what: str) -> Any:
        """Wait, blocking, until ``ready`` gives something. :raises AssertionError: it did not in time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = ready()
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {PATIENCE:.0f} s; the page says: {self.text('body')[:3000]}")
            time.sleep(0.1)

    def see(self, selector: str, *words: str) -> str:
        """Wait until the elements hold all ``words``. :returns: their text."""

        def there() -> str:
            text = self.text(selector)
            return text if all(word in text for word in words) else ""

        found: str = self.until(there, f"{selector} with {words}")
        return found

    def complaints(self) -> list[str]:
        """What the console says that is an error of the page: answers that are errors, which the browser lists there
        too, are left out."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and entry.get("source") != "network"
        ]

    def requests(self) -> list[str]:
        """The addresses of all requests and WebSockets so far."""
        for entry in self.driver.get_log("performance"):
            told = json.loads(entry["message"])["message"]
            if told["method"] == "Network.requestWillBeSent":
                if told["params"]["documentURL"].startswith("chrome://"):
                    continue  # the browser's own first page
                self._requests.append(told["params"]["request"]["url"])
            elif told["method"] == "Network.webSocketCreated":
                self._requests.append(told["params"]["url"])
        return self._requests

    def strangers(self, port: int) -> list[str]:
        """The requests that did not go to loopback's ``port``."""
        own = f"127.0.0.1:{port}"
        return [url for url in self.requests() if not url.startswith("data:") and urlsplit(url).netloc != own]

    def picture(self, path: Path) -> None:
        """Keep a picture of what is shown."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))
