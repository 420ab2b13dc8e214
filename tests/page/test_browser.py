"""The helper that starts a browser: what happens where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.page import browser


@pytest.mark.parametrize(
    ("required", "outcome"), [("required", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_without_a_browser_tests_skip_unless_one_is_required(
    required: str, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("selenium.webdriver", reason="needs Selenium")
    monkeypatch.setenv("HIRESCAM_TEST_BROWSER", required)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(outcome, match="needs Chromium"), browser.chromium(tmp_path / "profile"):
        pass
