"""A browser, and the page of a made-up case with hostile names in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.warning import Warning
from tests.page.browser import Browser, chromium
from tests.page.page_browser_world import HOSTILE
from tests.page.written import write_page
from tests.views import Known, changed, make_case


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def known() -> Known:
    """A scan in an odd axis order, oblique, with hostile labels and unlike neighbours in HU."""
    known = make_case("ASL", degrees=12.0, labels=HOSTILE)
    noise = np.random.default_rng(5).integers(-30, 30, known.view.volume.array_ijk.shape)
    known.view.volume.array_ijk[...] += noise.astype(np.int16)
    for cams in known.view.native.values():
        cams += np.random.default_rng(6).normal(0, 0.01, cams.shape).astype(np.float32)
    odd = Warning("odd-case", "<img src=x onerror=\"document.title='owned'\">")
    name = "</title><script>document.title='owned'</script>"
    return replace(known, view=changed(known.view, case=name, warnings=(odd,)))


@pytest.fixture(scope="module")
def page(known: Known, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "case.html"
    write_page(known.view, path)
    return path


@pytest.fixture
def opened(browser: Browser, page: Path) -> Browser:
    browser.complaints()
    browser.requests()
    browser.open(page)
    return browser
