"""A headless Chromium for tests: found, started with a fresh profile, asked what went wrong on a page."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
)


class Browser:
    """One page in a real browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        """Load a file and wait until its script says that it is ready."""
        self.driver.get(path.resolve().as_uri())
        self.wait("document.documentElement.dataset.ready === 'yes'")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(f"return Boolean({condition})")
        )

    def run(self, script: str, *values: Any) -> Any:
        """Result of a JavaScript function body with `values` as `arguments`."""
        return self.driver.execute_script(script, *values)

    def settle(self) -> None:
        """Wait for two frames, after which every change is drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()));"
        )

    def canvas(self, name: str) -> NDArray[np.uint8]:
        """Red, green and blue [rows, columns, 3] of a canvas, once everything is drawn."""
        self.settle()
        address: str = self.run("return document.getElementById(arguments[0]).toDataURL('image/png')", name)
        picture = Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1])))
        return np.asarray(picture.convert("RGB"))

    def keys(self, *keys: str) -> None:
        """Press keys on whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self.driver, duration=0).send_keys(key).perform()
        self.settle()

    def complaints(self) -> list[str]:
        """Everything in the console at level warning or above since the last call."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("WARNING", "SEVERE")
        ]

    def requests(self) -> list[str]:
        """Addresses of everything requested since the last call, but by pages of Chromium's own."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
            and not message["params"]["documentURL"].startswith("chrome://")
        ]


def _without_browser(reason: str) -> NoReturn:
    if os.environ.get("HIRESCAM_TEST_BROWSER") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def _selenium() -> Any:
    try:
        from selenium import webdriver
    except ImportError:
        _without_browser("needs Selenium")
    return webdriver


@contextmanager
def chromium(profile: Path, size: tuple[int, int] = (1280, 720), *, dark: bool = False) -> Iterator[Browser]:
    """A browser with a page area of `size`.

    Without Chromium the test is skipped, saying so; with HIRESCAM_TEST_BROWSER=required it fails.
    """
    webdriver = _selenium()
    binary = next(filter(None, map(shutil.which, _NAMES)), None)
    driver_path = shutil.which("chromedriver")
    if binary is None or driver_path is None:
        _without_browser("needs Chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver_path, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_script_timeout(60)
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = "dark" if dark else "light"
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        yield Browser(driver)
    finally:
        driver.quit()
