"""The cases of a run and their index: rows, links, and the table in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from hirescam_cli.case.document import dump
from hirescam_cli.case.listing import Listed, iter_cases
from hirescam_cli.case.record import CaseError, FailedCase, Output
from hirescam_cli.page.index import FINDINGS, index_text
from hirescam_cli.warning import Warning
from tests.page.browser import Browser, chromium
from tests.views import make_case

BASE = make_case(labels=("f0",), methods=("hirescam",), shape_lps=(12, 10, 8), side=12, slices=12).view.case


def case_of(folder: str, *probabilities: float, **changes: Any) -> Listed:
    """A finished case with labels f0, f1, ... of these probabilities; positive from 0.5, and then with a picture."""
    (label,) = BASE.labels
    labels = tuple(
        msgspec.structs.replace(label, name=f"f{n}", index=n, slug=f"f{n}", probability=p, positive=p >= 0.5)
        for n, p in enumerate(probabilities)
    )
    pictures = tuple(picture_of(f"hirescam.{e.name}.png", e.name) for e in labels if e.positive)
    told: dict[str, Any] = {"case": folder, "labels": labels, "outputs": pictures, **changes}
    return Listed(folder, msgspec.structs.replace(BASE, **told))


def picture_of(path: str, label: str) -> Output:
    return Output(
        path=path, role="picture", format="png", method="hirescam", label=label, placement="stretch", grid=None,
        sha256="0" * 64, bytes=1,
    )  # fmt: skip


def failed(folder: str, message: str) -> Listed:
    error = CaseError(code="nifti-truncated", stage="read", message=message, hint="Copy it again.")
    return Listed(folder, FailedCase(schema_version=2, case=folder, started=None, error=error))


def rows_of(out: Path, cases: list[Listed]) -> list[dict[str, Any]]:
    block = re.search(r'id="index-json">(.*?)</script>', index_text(out, cases), re.DOTALL)
    assert block is not None
    rows: list[dict[str, Any]] = json.loads(block[1])["rows"]
    return rows


def test_cases_are_found_and_broken_ones_reported(tmp_path: Path) -> None:
    def text_of(listed: Listed) -> str:
        return dump(listed.case).decode()

    def put(folder: str, text: str) -> None:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "summary.json").write_text(text, encoding="utf-8")

    put("b/two", text_of(case_of("b/two", 0.9)))
    put("a", text_of(case_of("a", 0.1)))
    put("broken", '{"schema_version": 2, "case"')
    put("old", '{"schema_version": 1, "case": "old", "status": "ok"}')
    put("binary", "\x00")
    put("foreign", '{"summary": "of something else"}')
    put("list", "[1, 2]")
    put(".b.hirescam-1-00000000.tmp", text_of(case_of("hidden", 0.9)))
    found = list(iter_cases(tmp_path))
    assert [listed.folder for listed in found] == ["a", "b/two", "binary", "broken", "old"]
    codes = [listed.case.error.code if listed.case.error else "" for listed in found]
    assert codes == ["", "", "summary-unreadable", "summary-unreadable", "summary-version"]
    assert str(tmp_path) not in str(found)
    assert next(iter_cases(tmp_path)).case.labels[0].probability == 0.1


def test_a_row_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "report.html").touch()
    (tmp_path / "x" / "hirescam.f2.png").touch()
    case = case_of("x", 0.2, 0.7, 0.95, warnings=(Warning("w", "W."),)).case
    page = msgspec.structs.replace(picture_of("report.html", ""), role="page", label=None, method=None)
    case = msgspec.structs.replace(case, outputs=(*case.outputs, page))
    (row,) = rows_of(tmp_path, [Listed("x", case)])
    assert row["findings"] == [["f2", 0.95, True], ["f1", 0.7, True]]
    assert row["positive"] == 2
    assert row["complete"] is True
    assert (row["page"], row["picture"], row["folder"]) == ("./x/report.html", "./x/hirescam.f2.png", "./x")
    assert row["warnings"] == ["w: W."]


def test_without_a_finding_the_most_probable_label_is_shown(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, [case_of("x", 0.2, 0.4)])
    assert row["findings"] == [["f1", 0.4, False]]
    assert (row["positive"], row["page"], row["picture"]) == (0, None, None)


def test_findings_are_limited_and_counted(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, [case_of("x", *[0.5 + n / 100 for n in range(20)])])
    assert len(row["findings"]) == FINDINGS
    assert row["positive"] == 20


@pytest.mark.parametrize("picture", ["../../../etc/passwd", "/etc/passwd", "../b.png", "a/../../b.png"])
def test_links_never_leave_the_run(tmp_path: Path, picture: str) -> None:
    case = case_of("x", 0.9, outputs=(picture_of(picture, "f0"),))
    (tmp_path / "x").mkdir()
    (tmp_path.parent / "b.png").touch()
    (tmp_path / "b.png").touch()
    (row,) = rows_of(tmp_path, [case])
    assert row["picture"] is None


def test_links_are_relative_whatever_the_name(tmp_path: Path) -> None:
    (tmp_path / "a b" / "#c?d%").mkdir(parents=True)
    (tmp_path / "a b" / "#c?d%" / "hirescam.f0.png").touch()
    rows = rows_of(tmp_path, [case_of("javascript:alert(1)", 0.9), case_of("a b/#c?d%", 0.9)])
    assert rows[0]["folder"] == "./javascript%3Aalert%281%29"
    assert rows[1]["picture"] == "./a%20b/%23c%3Fd%25/hirescam.f0.png"


def test_a_failed_case_makes_a_row(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, [failed("x", "x is truncated.")])
    assert (row["status"], row["findings"], row["complete"]) == ("failed", [], None)
    assert row["error"]["message"] == "x is truncated."


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def run_of_5000(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,000 cases: every tenth failed, case n has probability n / 5000 of f0; one has a hostile name."""
    out = tmp_path_factory.mktemp("run")
    cases = [
        failed(f"case-{n}", f"case-{n} ends early.") if n % 10 == 3 else case_of(f"case-{n}", n / 5000, 0.1)
        for n in range(5000)
    ]
    cases[7] = case_of("<img src=x onerror=\"document.title='owned'\">", 0.99)
    (out / "case-0").mkdir()
    Image.new("RGB", (600, 300), (200, 40, 40)).save(out / "case-0" / "hirescam.f0.png")
    cases[0] = case_of("case-0", 0.5)
    (out / "index.html").write_text(index_text(out, cases), encoding="utf-8")
    return out / "index.html"


def shown(browser: Browser) -> list[str]:
    names: list[str] = browser.run(
        "return [...document.querySelectorAll('#rows .case-link')].map((e) => e.textContent)"
    )
    return names


def choose(browser: Browser, element: str, value: str) -> None:
    browser.run(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input'));",
        element, value,
    )  # fmt: skip


@pytest.mark.browser
def test_five_thousand_cases_open_at_once_in_silence(browser: Browser, run_of_5000: Path) -> None:
    browser.complaints()
    browser.requests()
    browser.open(run_of_5000)
    assert run_of_5000.stat().st_size < 5_000_000
    assert browser.run("return document.querySelectorAll('#rows tr').length") == 50
    assert "5000 cases, 500 failed" in browser.run("return document.getElementById('totals').textContent")
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked[0] == run_of_5000.resolve().as_uri()
    assert all(url.startswith("file:") for url in asked)
    assert browser.complaints() == []
    choose(browser, "filter-text", "case-0")
    browser.wait("document.querySelector('.thumb img').naturalWidth === 600")


@pytest.mark.browser
def test_sorting_filtering_and_paging(browser: Browser, run_of_5000: Path) -> None:
    browser.open(run_of_5000)
    browser.run("document.getElementById('sort-findings').click()")
    assert shown(browser)[:3] == ["case-4999", "case-4998", "case-4997"]
    head = "return document.getElementById('sort-findings').parentElement.ariaSort"
    assert browser.run(head) == "descending"
    browser.run("document.getElementById('sort-findings').click()")
    assert browser.run(head) == "ascending"
    browser.run("document.getElementById('sort-case').click()")
    assert shown(browser)[1:4] == ["case-0", "case-1", "case-2"]
    browser.run(
        "[...document.querySelectorAll('#pages button')].find((b) => b.textContent === 'Last').click()"
    )
    assert shown(browser)[-1] == "case-4999"
    choose(browser, "filter-status", "failed")
    assert len(shown(browser)) == 50
    choose(browser, "filter-text", "case-4993 early")
    assert shown(browser) == ["case-4993"]
    assert "case-4993 ends early." in browser.run("return document.querySelector('.reason').textContent")
    choose(browser, "filter-status", "")
    choose(browser, "filter-text", "")
    choose(browser, "filter-label", "f0")
    assert browser.run("return document.querySelector('#filters .hint').textContent").startswith("2252 of")


@pytest.mark.browser
def test_hostile_names_stay_text(browser: Browser, run_of_5000: Path) -> None:
    browser.open(run_of_5000)
    choose(browser, "filter-text", "onerror")
    assert shown(browser) == ["<img src=x onerror=\"document.title='owned'\">"]
    assert browser.run("return document.title") == "hirescam - index"
    assert browser.run("return document.querySelectorAll('img[onerror]').length") == 0
