"""The pages against the rules of axe-core (WCAG 2.2 A and AA, best practices), where `npm ci` has fetched it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hirescam_cli.case.listing import Listed
from hirescam_cli.page import bundle as bundling
from hirescam_cli.page import index_text
from tests.page.browser import Browser
from tests.page.written import write_page
from tests.views import make_case

AXE = Path(bundling.__file__).parent / "script" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core (npm ci in hirescam_cli/page/script)"),
]


def violations(browser: Browser) -> list[str]:
    """What axe-core finds wrong on the page as it stands."""
    browser.run(AXE.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = browser.driver.execute_async_script(
        """
        const done = arguments[0];
        const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
        axe.run(document, { resultTypes: ["violations"], runOnly: tags }).then((r) => done(r.violations));
        """
    )
    return [f"{one['id']}: {[node['target'] for node in one['nodes'][:3]]}" for one in found]


def look(browser: Browser, width: int, scheme: str) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_nothing_is_found_on_the_page_of_a_case(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    write_page(make_case().view, tmp_path / "page.html")
    look(browser, width, scheme)
    try:
        browser.open(tmp_path / "page.html")
        other = "{method: 'gradcam', label: null, placement: null}"
        for step in (
            "",
            f"window.hirescam.set({{other: {other}, distances: [{{from: [0, 0, 0], to: [0, 30, 40]}}]}})",
            "document.getElementById('tab-evidence').click()",
            "document.getElementById('tab-case').click()",
            "document.getElementById('help-button').click()",
        ):
            browser.run(step)
            browser.settle()
            assert violations(browser) == [], step
    finally:
        look(browser, 1280, "light")


def test_nothing_is_found_on_the_index(browser: Browser, tmp_path: Path) -> None:
    case = make_case().view.case
    path = tmp_path / "index.html"
    path.write_text(index_text(tmp_path, [Listed(f"case{n}", case) for n in range(3)]), encoding="utf-8")
    browser.open(path)
    assert violations(browser) == []


def test_axe_sees_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    write_page(make_case().view, tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    browser.run("document.getElementById('label-search').removeAttribute('aria-label')")
    browser.run("document.getElementById('label-search').removeAttribute('placeholder')")
    assert any(line.startswith("label:") for line in violations(browser))
