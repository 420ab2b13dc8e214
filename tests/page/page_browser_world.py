"""What the tests of page browser share."""

from __future__ import annotations

from typing import Any

from tests.page.browser import Browser

HOSTILE = (
    "nodule",
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=1">',
    "</script>",
)


def state(browser: Browser) -> dict[str, Any]:
    browser.settle()
    found: dict[str, Any] = browser.run("return window.hirescam.state")
    return found
