"""The page of a case in a real browser: planes, window, lists, policy, keyboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.geometry import affine as affines
from tests.page.browser import Browser
from tests.page.page_browser_world import HOSTILE, state
from tests.page.written import write_page
from tests.views import Known, make_case


def test_a_plane_is_driven_by_keys(opened: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.run("document.getElementById('plane-Axial').focus()")
    z, y, x = state(opened)["voxel"]
    opened.keys(Keys.ARROW_RIGHT)
    opened.keys(Keys.ARROW_DOWN)
    opened.keys(Keys.PAGE_DOWN)
    assert state(opened)["voxel"] == [z + 1, y + 1, x + 1]
    opened.keys(Keys.HOME)
    assert state(opened)["voxel"][0] == 0
    opened.keys("p")
    assert state(opened)["voxel"] == [z, y, x]


@pytest.mark.parametrize(("name", "sides"), [("Axial", "RLAP"), ("Coronal", "RLHF"), ("Sagittal", "APHF")])
def test_letters_name_the_sides(opened: Browser, name: str, sides: str) -> None:
    from selenium.webdriver.common.keys import Keys

    figure = opened.driver.find_element("id", f"figure-{name}")
    box = figure.rect
    middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    directions = {"L": (0, -1), "R": (0, 1), "P": (1, -1), "A": (1, 1), "F": (2, -1), "H": (2, 1)}
    letters = figure.find_elements("class name", "side-letter")
    assert "".join(letter.text for letter in letters) == sides
    opened.run("document.getElementById(arguments[0]).focus()", f"plane-{name}")
    for letter in letters:
        offset = np.array([letter.rect["x"], letter.rect["y"]]) + 5 - middle
        across = abs(offset[0]) > abs(offset[1])
        arrows = (Keys.ARROW_LEFT, Keys.ARROW_RIGHT) if across else (Keys.ARROW_UP, Keys.ARROW_DOWN)
        opened.run("window.hirescam.set({voxel: [30, 40, 60]})")
        before = np.array(opened.run("return window.hirescam.pointMm"))
        opened.keys(arrows[int(offset[0 if across else 1] > 0)])
        moved = np.array(opened.run("return window.hirescam.pointMm")) - before
        axis, sign = directions[letter.text]
        assert np.abs(moved).argmax() == axis
        assert moved[axis] * sign > 0


def test_a_plane_is_driven_by_the_mouse(opened: Browser) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = opened.driver.find_element("id", "plane-Axial")
    before = state(opened)
    scale, spacing = before["view"]["scale"], opened.run("return window.hirescam.spacing")
    middle = before["view"]["centre"]
    ActionChains(opened.driver, duration=0).move_to_element_with_offset(canvas, 20, -30).click().perform()
    clicked = state(opened)["voxel"]
    assert abs(clicked[2] - (middle[2] + 20 / (scale * spacing[2]))) <= 1
    assert abs(clicked[1] - (middle[1] - 30 / (scale * spacing[1]))) <= 1
    assert clicked[0] == before["voxel"][0]
    drag = ActionChains(opened.driver, duration=0).move_to_element_with_offset(canvas, 20, -30)
    drag.click_and_hold().move_by_offset(-50, 40).release().perform()
    dragged = state(opened)["voxel"]
    assert abs(dragged[2] - (middle[2] - 30 / (scale * spacing[2]))) <= 1
    assert abs(dragged[1] - (middle[1] + 10 / (scale * spacing[1]))) <= 1
    opened.run(
        "document.getElementById('plane-Axial').dispatchEvent("
        "new WheelEvent('wheel', {deltaY: 120, cancelable: true}))"
    )
    assert state(opened)["voxel"][0] == dragged[0] + 2
    ActionChains(opened.driver, duration=0).move_to_element(canvas).double_click().perform()
    assert state(opened)["enlarged"] == "Axial"
    assert opened.run("return document.getElementById('plane-Axial').clientHeight") > 500
    assert not opened.driver.find_element("id", "plane-Coronal").is_displayed()
    opened.keys("e")
    assert opened.driver.find_element("id", "plane-Coronal").is_displayed()


def test_the_window_can_be_set_by_hand(opened: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    field = opened.driver.find_element("id", "level")
    field.clear()
    field.send_keys("123", Keys.ENTER)
    assert state(opened)["level"] == 123
    assert opened.run("return document.querySelector('input[name=window]:checked')") is None
    opened.run("document.getElementById('window-bone').click()")
    assert (state(opened)["level"], state(opened)["width"]) == (450, 1500)
    assert opened.run("return document.getElementById('level').value") == "450"


def test_search_narrows_the_list_and_the_list_is_driven_by_keys(opened: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.keys("/")
    opened.keys("n", "o", "d")
    options = "return document.querySelectorAll('#label-list [role=option]').length"
    assert opened.run(options) == 1
    opened.keys(Keys.ESCAPE)
    assert opened.run(options) == len(HOSTILE)
    opened.run("document.getElementById('label-list').focus()")
    opened.keys(Keys.END)
    order = opened.run("return [...document.querySelectorAll('#label-list [role=option]')].map((e) => e.id)")
    assert order[-1] == f"label-{state(opened)['label']}"
    active = opened.run("return document.getElementById('label-list').getAttribute('aria-activedescendant')")
    assert active == order[-1]


def test_slice_scores_are_a_way_to_a_slice(opened: Browser, known: Known) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.run("document.querySelector('.profile').focus()")
    opened.keys(Keys.HOME)
    opened.keys(Keys.ARROW_RIGHT)
    assert opened.run("return document.querySelector('.profile').getAttribute('aria-valuenow')") == "2"
    z = opened.run("return window.hirescam.pointMm")[2]
    wanted = affines.apply(known.view.affines_ras["stretch"], [1, 2.5, 2.5])[2]
    assert abs(z - wanted) <= known.view.volume.spacing_mm[2] / 2 + 1e-6


def test_names_stay_text(opened: Browser, known: Known) -> None:
    assert opened.run("return document.querySelectorAll('img, iframe, object').length") == 0
    assert opened.run("return document.title") == f"{known.view.case.case} - hirescam"
    shown = opened.run("return [...document.querySelectorAll('.label-name')].map((e) => e.textContent)")
    assert sorted(shown) == sorted(HOSTILE)
    for n in range(len(HOSTILE)):
        opened.run("window.hirescam.set({label: arguments[0]})", n)
        opened.settle()
        assert opened.run("return document.querySelector('.label-title').textContent") == HOSTILE[n]
    assert opened.complaints() == []


def test_the_policy_stops_foreign_scripts_and_requests(opened: Browser) -> None:
    opened.run(
        "const s = document.createElement('script'); s.textContent = 'window.foreign = 1';"
        "document.body.append(s);"
        "const i = new Image(); i.src = 'https://example.invalid/x.png'; document.body.append(i);"
    )
    opened.settle()
    assert opened.run("return window.foreign === undefined")
    refused = " ".join(opened.complaints())
    assert "script-src" in refused
    assert "img-src" in refused


def test_everything_can_be_reached_by_tab(opened: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    reached = []
    for _ in range(60):
        opened.keys(Keys.TAB)
        reached.append(
            opened.run(
                "const e = document.activeElement; return e.id || e.className.toString() || e.tagName;"
            )
        )
    for wanted in (
        "label-search", "label-list", "plane-Axial", "plane-Coronal", "plane-Sagittal", "plane profile",
        "tab-map", "opacity", "threshold", "visible", "peak", "level",
    ):  # fmt: skip
        assert wanted in reached, wanted
    assert "signed-no" in reached


def test_fits_a_small_screen(opened: Browser) -> None:
    size = opened.run(
        "const e = document.documentElement; return [e.scrollWidth, e.scrollHeight, innerWidth, innerHeight];"
    )
    assert size == [1280, 720, 1280, 720]
    for name in ("plane-Axial", "plane-Coronal", "plane-Sagittal"):
        box = opened.run(
            "const box = document.getElementById(arguments[0]).getBoundingClientRect();"
            "return [box.width, box.height];",
            name,
        )
        assert min(box) > 250


@pytest.mark.parametrize(("degrees", "name"), [(0.0, "Axial"), (12.0, "Axial of the scan")])
def test_planes_of_an_oblique_scan_are_called_the_scans(
    browser: Browser, tmp_path: Path, degrees: float, name: str
) -> None:
    write_page(make_case(degrees=degrees).view, tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.driver.find_element("css selector", "#figure-Axial .plane-name").text == name
