"""The cases of a run and their index: rows, links, and the table in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hirescam_cli.output.cases import iter_cases
from hirescam_cli.output.page import write_index
from hirescam_cli.output.page.index import FINDINGS, index_text
from tests.output.browser import Browser, chromium


def case_of(folder: str, *probabilities: float, **changes: Any) -> dict[str, Any]:
    """A finished case with labels f0, f1, ... of these probabilities; positive from 0.5."""
    labels = [
        {
            "name": f"f{n}",
            "index": n,
            "probability": p,
            "positive": p >= 0.5,
            "maps": {"hirescam": {"complete": True, "picture": f"hirescam.f{n}.png" if p >= 0.5 else None}},
        }
        for n, p in enumerate(probabilities)
    ]
    case = {
        "schema_version": 1, "case": folder, "folder": folder, "status": "ok",
        "started": "2026-01-02T03:04:05Z",
        "warnings": [], "error": None, "labels": labels,
        "model": {"name": "demo"}, "run": {"seconds": {"total": 2.5}},
    }  # fmt: skip
    return {**case, **changes}


def failed(folder: str, message: str) -> dict[str, Any]:
    error = {"code": "nifti-truncated", "stage": "read", "message": message, "hint": "Copy it again."}
    return case_of(folder, status="failed", error=error)


def rows_of(out: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    block = re.search(r'id="index-json">(.*?)</script>', index_text(out, cases), re.DOTALL)
    assert block is not None
    rows: list[dict[str, Any]] = json.loads(block[1])["rows"]
    return rows


def test_cases_are_found_and_broken_ones_reported(tmp_path: Path) -> None:
    def put(folder: str, text: str) -> None:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "summary.json").write_text(text, encoding="utf-8")

    put("b/two", json.dumps(case_of("b/two", 0.9)))
    put("a", json.dumps(case_of("a", 0.1)))
    put("broken", '{"schema_version": 1, "case"')
    put("binary", "\x00")
    put("foreign", '{"summary": "of something else"}')
    put("list", "[1, 2]")
    put(".b.hirescam-1-00000000.tmp", json.dumps(case_of("hidden", 0.9)))
    found = list(iter_cases(tmp_path))
    assert [case["folder"] for case in found] == ["a", "b/two", "binary", "broken"]
    assert [case["status"] for case in found] == ["ok", "ok", "failed", "failed"]
    assert found[2]["error"]["code"] == "summary-unreadable"
    assert str(tmp_path) not in json.dumps(found)
    assert next(iter_cases(tmp_path))["labels"][0]["probability"] == 0.1


def test_a_row_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "report.html").touch()
    (tmp_path / "x" / "hirescam.f2.png").touch()
    (row,) = rows_of(tmp_path, [case_of("x", 0.2, 0.7, 0.95, warnings=["w: W."])])
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
    case = case_of("x", 0.9)
    case["labels"][0]["maps"]["hirescam"]["picture"] = picture
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


def test_incomplete_summaries_still_make_a_row(tmp_path: Path) -> None:
    (row,) = rows_of(
        tmp_path, [{"folder": "x", "case": "x", "status": "failed", "error": None, "labels": None}]
    )
    assert row["findings"] == []
    assert row["complete"] is None


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
    write_index(out, cases)
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
