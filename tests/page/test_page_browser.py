"""The page of a case in a real browser: what it shows is what nibabel finds at the same place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.case.view import CaseView
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import linear_at
from hirescam_cli.warning import Warning
from tests.page.browser import Browser, chromium
from tests.page.written import write_page
from tests.views import Known, changed, make_case

pytestmark = pytest.mark.browser

HOSTILE = (
    "nodule",
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=1">',
    "</script>",
)


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


def points_in(view: CaseView, count: int) -> NDArray[np.float64]:
    """Random RAS points in the scan's box."""
    shape = np.asarray(view.volume.array_ijk.shape)
    index = np.random.default_rng(20).uniform(-0.49, shape - 0.51, (count, 3))
    return affines.apply(view.volume.affine_ras, index)


def state(browser: Browser) -> dict[str, Any]:
    browser.settle()
    found: dict[str, Any] = browser.run("return window.hirescam.state")
    return found


def test_loads_in_silence_and_asks_for_nothing(opened: Browser, page: Path) -> None:
    assert opened.complaints() == []
    assert [url for url in opened.requests() if not url.startswith("data:")] == [page.resolve().as_uri()]


@pytest.mark.parametrize("placement", ["stretch", "receptive-field"])
def test_hu_and_map_value_are_what_nibabel_gives_there(
    opened: Browser, known: Known, tmp_path: Path, placement: str
) -> None:
    view = known.view
    nibabel.save(nibabel.Nifti1Image(view.volume.array_ijk, view.volume.affine_ras), tmp_path / "scan.nii")
    scan = nibabel.load(tmp_path / "scan.nii")
    for method, label in (("hirescam", 0), ("gradcam", 2)):
        map_image = nibabel.Nifti1Image(view.cams(method)[..., label], view.affines_ras[placement])
        opened.run(
            "window.hirescam.set({placement: arguments[0], method: arguments[1], label: arguments[2]})",
            placement, method, label,
        )  # fmt: skip
        nonzero = 0
        for point in points_in(view, 20):
            found = opened.run("return window.hirescam.probe(arguments[0])", point.tolist())
            voxel = np.rint(affines.apply(np.linalg.inv(scan.affine), point)).astype(int)
            assert found["hu"] == int(scan.dataobj[tuple(voxel)])
            index = affines.apply(np.linalg.inv(map_image.affine), point)
            expected = float(linear_at(map_image.get_fdata(), index[None])[0])
            assert found["value"] == pytest.approx(expected, abs=1e-7)
            nonzero += expected != 0
        assert nonzero >= 3


def test_rounded_maps_are_read_to_within_their_step(
    browser: Browser, known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hirescam_cli.page.page._MAP_SHARE", 0.0015)
    write_page(known.view, tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    browser.run("window.hirescam.set({method: 'gradcam', label: 3})")
    cam = known.view.map_of("gradcam", HOSTILE[3])
    assert "rounded to 16 bits" in browser.run("return document.getElementById('panel-case').textContent")
    for point in points_in(known.view, 20):
        found = browser.run("return window.hirescam.probe(arguments[0]).value", point.tolist())
        index = affines.apply(np.linalg.inv(known.view.affines_ras["stretch"]), point)
        expected = float(linear_at(cam, index[None])[0])
        assert found == pytest.approx(expected, abs=float(np.abs(cam).max()) / 32767)


def test_crosshair_reads_the_voxel_it_stands_on(opened: Browser, known: Known) -> None:
    view = known.view
    opened.run("window.hirescam.moveTo(arguments[0])", known.lesion_mm.tolist())
    opened.settle()
    point = opened.run("return window.hirescam.pointMm")
    voxel = affines.apply(np.linalg.inv(view.volume.affine_ras), point)
    assert np.abs(voxel - np.rint(voxel)).max() < 1e-6
    hu = int(view.volume.array_ijk[tuple(np.rint(voxel).astype(int))])
    shown = opened.run("return document.getElementById('readout').innerText").replace("\N{MINUS SIGN}", "-")
    assert f"\n{hu}\n" in shown
    x, y, z = point
    assert f"{'R' if x >= 0 else 'L'} {abs(x):.1f}  {'A' if y >= 0 else 'P'} {abs(y):.1f}" in shown
    assert f"{'H' if z >= 0 else 'F'} {abs(z):.1f}" in shown


def test_patients_left_is_on_the_right_of_the_picture(opened: Browser, known: Known) -> None:
    script = """
      window.hirescam.set({visible: false, grey: false, crosshair: false, level: 900, width: 200});
      window.hirescam.moveTo(arguments[0]);"""
    opened.run(script, known.marker_mm.tolist())
    grey = opened.canvas("plane-Axial")[:, :, 0]
    columns = np.nonzero((grey > 250).sum(axis=0) > 6)[0]
    assert columns.size > 4
    assert columns.min() > grey.shape[1] / 2


def test_choosing_a_label_changes_the_map(opened: Browser) -> None:
    before = opened.canvas("plane-Axial")
    position = state(opened)["voxel"]
    opened.run("document.getElementById('label-2').click()")
    opened.run("window.hirescam.set({voxel: arguments[0]})", position)
    after = opened.canvas("plane-Axial")
    assert state(opened)["label"] == 2
    assert (before != after).any()
    opened.run("window.hirescam.set({visible: false})")
    without = opened.canvas("plane-Axial")
    assert (without != after).any()


def test_unseen_voxels_are_greyed_on_request(opened: Browser, known: Known) -> None:
    opened.run("window.hirescam.set({visible: false, crosshair: false, grey: true})")
    point = next(
        p
        for p in points_in(known.view, 200)
        if not opened.run("return window.hirescam.probe(arguments[0]).seen", p.tolist())
    )
    opened.run("window.hirescam.moveTo(arguments[0])", point.tolist())
    greyed = opened.canvas("plane-Coronal")
    opened.run("window.hirescam.set({grey: false})")
    plain = opened.canvas("plane-Coronal")
    assert (greyed != plain).any()
    index = affines.apply(np.linalg.inv(known.view.affines_ras["stretch"]), point)
    shape = np.asarray(known.view.cams("hirescam").shape[:3])
    assert ((index < -0.5) | (index > shape - 0.5)).any()


def test_every_control_has_its_key(opened: Browser) -> None:
    first = state(opened)
    changes = {
        "s": "signed", "c": "cells", "t": "placement", "m": "method", "v": "visible", "g": "grey",
        "x": "crosshair", "a": "shared", "j": "label", "2": "level", "]": "opacity",
    }  # fmt: skip
    for key, name in changes.items():
        before = state(opened)[name]
        opened.keys(key)
        assert state(opened)[name] != before, key
    opened.keys("+")
    assert state(opened)["view"]["scale"] > first["view"]["scale"]
    opened.keys("0")
    assert state(opened)["view"]["scale"] == pytest.approx(first["view"]["scale"])


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
