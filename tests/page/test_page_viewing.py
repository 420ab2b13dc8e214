"""The page of a case in a real browser: comparing, measuring, windowing, links, sizes from telephone to wall, print."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry import reorient
from hirescam_cli.page import Evaluated, LedgerRow, Outline, Polyline, page_text
from tests.page.browser import Browser
from tests.page.page_browser_world import state
from tests.page.written import write_page
from tests.views import Known

pytestmark = pytest.mark.browser


def drag(browser: Browser, start: tuple[int, int], by: tuple[int, int], button: int = 0) -> None:
    """A drag of CSS pixels on the axial plane from a place relative to its middle."""
    browser.run(
        """
        const [x0, y0, dx, dy, button] = arguments;
        const canvas = document.getElementById("plane-Axial");
        canvas.setPointerCapture = () => {};
        const box = canvas.getBoundingClientRect();
        const [x, y] = [box.left + box.width / 2 + x0, box.top + box.height / 2 + y0];
        const send = (type, mx, my) => canvas.dispatchEvent(new PointerEvent(type,
          {clientX: x + mx, clientY: y + my, button, pointerId: 5, bubbles: true, cancelable: true}));
        send("pointerdown", 0, 0); send("pointermove", dx / 2, dy / 2);
        send("pointermove", dx, dy); send("pointerup", dx, dy);
        """,
        *start, *by, button,
    )  # fmt: skip
    browser.settle()


def test_another_label_or_method_keeps_the_crosshair(opened: Browser) -> None:
    opened.run("window.hirescam.set({voxel: [20, 30, 40]})")
    opened.keys("j", "m")
    found = state(opened)
    assert (found["label"], found["method"], found["voxel"]) == (1, "gradcam", [20, 30, 40])
    opened.run("document.getElementById('label-2').click()")
    assert state(opened)["voxel"] == [20, 30, 40]
    opened.run("document.getElementById('peak').click()")
    assert state(opened)["voxel"] != [20, 30, 40]


@pytest.mark.parametrize(
    "other",
    [
        {"method": "gradcam", "label": None, "placement": None},
        {"method": None, "label": 1, "placement": None},
        {"method": None, "label": None, "placement": "receptive-field"},
    ],
)
def test_two_maps_stand_side_by_side_and_their_difference(opened: Browser, other: dict[str, Any]) -> None:
    """Each pane, pixel by pixel, is what the page draws of that map alone; zoom and crosshair are common."""
    plain = {
        "shared": other["label"] is not None,
        "grey": False,
        "crosshair": False,
        "level": 4000,
        "width": 10,
        "opacity": 1,
        "signed": True,
    }
    opened.run("window.hirescam.set({...arguments[0], other: arguments[1]})", plain, other)
    panes = {pane: opened.canvas(f"plane-Axial{pane}") for pane in ("", "-b", "-difference")}
    assert (panes[""] != panes["-b"]).any()
    assert panes["-difference"][60:-60, 60:-60].max() > 20
    # The second map as the first, under the same limit of colours, is drawn as B was.
    opened.run(
        "window.hirescam.set({...arguments[0], visible: true})",
        {k: v for k, v in other.items() if v is not None},
    )
    first = opened.canvas("plane-Axial")
    assert (np.abs(first.astype(int) - panes["-b"]).max(axis=2) <= 12).mean() > 0.99


def test_the_difference_is_of_the_values(opened: Browser) -> None:
    opened.run(
        "window.hirescam.set({other: {method: 'gradcam', label: null, placement: null}, method: 'hirescam'})"
    )
    opened.settle()
    point = opened.run("return window.hirescam.pointMm")
    values = []
    for method in ("hirescam", "gradcam"):
        opened.run("window.hirescam.set({method: arguments[0]})", method)
        values.append(opened.run("return window.hirescam.probe(arguments[0]).value", point))
    opened.run("window.hirescam.set({method: 'hirescam'})")
    opened.settle()
    text = opened.run("return document.getElementById('readout').innerText").replace("\N{MINUS SIGN}", "-")
    shown = [float(part) for part in text.split("A - B\n")[1].split("\n")[0].split()]
    assert shown == pytest.approx([values[1], values[0] - values[1]], rel=0.01)
    both = opened.run(
        "return ['plane-Axial', 'plane-Axial-b', 'plane-Axial-difference'].map((id) =>"
        " document.getElementById(id).clientWidth)"
    )
    assert min(both) > 150
    opened.keys("f")
    assert not opened.driver.find_element("id", "plane-Axial-difference").is_displayed()
    opened.keys("b")
    assert state(opened)["other"] is None
    assert opened.driver.find_element("css selector", ".profile").is_displayed()


def test_a_drag_of_the_right_button_or_of_the_window_tool_sets_the_window(opened: Browser) -> None:
    before = state(opened)
    drag(opened, (0, 0), (30, -60), button=2)
    wider = state(opened)
    gain = before["width"] / 300
    assert wider["width"] == pytest.approx(before["width"] + 30 * gain, rel=0.1)
    assert wider["level"] < before["level"]
    assert wider["voxel"] == before["voxel"]
    opened.run("document.getElementById('tool-window').click()")
    drag(opened, (0, 0), (0, 40))
    assert state(opened)["level"] > wider["level"]
    opened.keys("1")
    assert (state(opened)["level"], state(opened)["width"]) == (-600, 1500)
    opened.keys(".", ">")
    assert (state(opened)["level"], state(opened)["width"]) == (-610, 1520)


def test_a_distance_is_in_mm_through_the_affine(opened: Browser, known: Known) -> None:
    opened.run("document.getElementById('tool-measure').click()")
    scale = state(opened)["view"]["scale"]
    drag(opened, (-20, 10), (60, -25))
    (found,) = state(opened)["distances"]
    length = float(np.linalg.norm(np.subtract(found["from"], found["to"])))
    assert length == pytest.approx(np.hypot(60, 25) / scale, rel=1e-6)
    assert f"{length:.1f} mm" in opened.run("return document.querySelector('.distances').innerText")
    yellow = (255, 228, 92)
    canvas = opened.canvas("plane-Axial").astype(int)
    assert (np.abs(canvas - yellow).max(axis=2) < 30).sum() > 20
    # From and to the crosshair, by keys: 3 embedded voxels down, 4 to the side, of the oblique scan.
    _, grid = reorient(known.view.volume.grid, "IPL")
    opened.run("window.hirescam.set({voxel: [30, 40, 50], distances: []})")
    opened.keys("d")
    opened.run("window.hirescam.set({voxel: [33, 40, 54]})")
    opened.keys("d")
    (found,) = state(opened)["distances"]
    wanted = affines.apply(grid.affine_ras, [[30, 40, 50], [33, 40, 54]])
    np.testing.assert_allclose([found["from"], found["to"]], wanted, atol=1e-9)
    z, x = grid.spacing_mm[0], grid.spacing_mm[2]
    length = float(np.hypot(3 * z, 4 * x))
    assert f"{length:.1f} mm" in opened.run("return document.querySelector('.distances').innerText")


def test_a_link_opens_the_same_view(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run(
        "window.hirescam.set({label: 1, method: 'gradcam', placement: 'receptive-field', level: 40, width: 350,"
        " other: {method: 'hirescam', label: null, placement: null}, voxel: [11, 22, 33], signed: true})"
    )
    browser.wait("location.hash.includes('with-method=hirescam')", 5)
    wanted = state(browser)
    address = browser.run("return location.href")
    browser.driver.get("about:blank")
    browser.driver.get(address)
    browser.wait("document.documentElement.dataset.ready === 'yes'")
    found = state(browser)
    for key in ("label", "method", "placement", "level", "width", "other", "voxel", "signed"):
        assert found[key] == wanted[key], key
    browser.run("location.hash = '#at=0,0,-300'")
    browser.wait("window.hirescam.state.voxel.join() !== '11,22,33'", 5)
    assert np.abs(np.array(browser.run("return window.hirescam.pointMm")) - [0, 0, -300]).max() < 3


def test_outlines_and_ledger_are_drawn_where_there_are_any(
    browser: Browser, known: Known, tmp_path: Path
) -> None:
    _, grid = reorient(known.view.volume.grid, "IPL")
    square = np.array([[30, 20, 30], [30, 20, 70], [30, 60, 70], [30, 60, 30], [30, 20, 30]], dtype=float)
    outline = Outline("left <lung>", [Polyline("axial", affines.apply(grid.affine_ras, square))])
    rows = [
        LedgerRow("nodule", "hirescam", region, value) for region, value in (("lung", 1.5), ("outside", -0.5))
    ]
    path = tmp_path / "page.html"
    path.write_text(page_text(known.view, Evaluated([outline], rows)), encoding="utf-8")
    browser.open(path)
    browser.run("window.hirescam.set({voxel: [30, 5, 5], visible: false, grey: false, crosshair: false})")
    green = np.abs(browser.canvas("plane-Axial").astype(int) - (125, 255, 155)).max(axis=2) < 25
    rows_, columns = np.nonzero(green)
    view = state(browser)["view"]
    for found, axis, ends in ((columns, 2, (30, 70)), (rows_, 1, (20, 60))):
        extent = green.shape[1 if axis == 2 else 0]
        wanted = [
            extent / 2 + (at - view["centre"][axis]) * grid.spacing_mm[axis] * view["scale"] for at in ends
        ]
        assert [found.min(), found.max()] == pytest.approx(wanted, abs=2.5)
    browser.run("window.hirescam.set({voxel: [31, 5, 5]})")
    assert not (np.abs(browser.canvas("plane-Axial").astype(int) - (125, 255, 155)).max(axis=2) < 25).any()
    text = browser.run("return document.getElementById('panel-evidence').textContent")
    assert "Ledger, HiResCAM" in text
    assert "lung+1.50" in text
    assert "Sum+1.00" in text
    assert browser.complaints() == []


def test_a_slice_has_its_number_of_the_scanner(browser: Browser, known: Known, tmp_path: Path) -> None:
    volume = known.view.volume
    slices = volume.array_ijk.shape[2]
    numbers = tuple(range(101, 101 + slices))
    provenance = replace(volume.provenance, slice_numbers=numbers)
    write_page(
        replace(known.view, volume=replace(volume, provenance=provenance)), path := tmp_path / "page.html"
    )
    browser.open(path)
    order, _ = reorient(volume.grid, "IPL")
    axis = order.source.index(2)
    browser.run("window.hirescam.set({voxel: [7, 7, 7]})")
    browser.settle()
    name = ("Axial", "Coronal", "Sagittal")[axis]
    wanted = numbers[-8] if order.flip[axis] else numbers[7]
    shown = browser.run("return document.querySelector(arguments[0]).textContent", f"#figure-{name} .corner")
    assert shown.endswith(f"image {wanted}")


@pytest.fixture
def resized(browser: Browser) -> Iterator[Browser]:
    yield browser
    size(browser, 1280, 720)


def size(browser: Browser, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.mark.parametrize("width", [360, 420, 640, 839, 840, 1000, 1180, 1440, 2560, 3840])
def test_nothing_overflows_or_overprints_from_telephone_to_wall(
    resized: Browser, page: Path, width: int
) -> None:
    size(resized, width, max(740, width * 9 // 16))
    resized.open(page)
    for other in (None, {"method": "gradcam", "label": None, "placement": None}):
        resized.run("window.hirescam.set({other: arguments[0]})", other)
        resized.settle()
        assert resized.run("return document.documentElement.scrollWidth") <= width
        boxes = resized.run(
            """
            const parts = ["#findings", ".viewer", "#panel"].map((s) => document.querySelector(s));
            const inside = ".toolbar > *, .readout > :not(.in-print), .bar > *, .tab, .plane";
            const inner = [...document.querySelectorAll(inside)];
            return [parts, inner].map((list) => list.filter((e) => e.offsetWidth > 0).map((e) => {
              const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; }));
            """
        )
        for group in boxes:
            for n, one in enumerate(group):
                assert one[0] >= -0.5
                assert one[2] <= width + 0.5
                for two in group[:n]:
                    across = min(one[2], two[2]) - max(one[0], two[0])
                    down = min(one[3], two[3]) - max(one[1], two[1])
                    assert min(across, down) <= 0.5, (one, two)


def test_print_has_all_planes_numbers_and_what_is_shown(opened: Browser) -> None:
    printed = opened.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert len(base64.b64decode(printed["data"])) > 20_000
    opened.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        shown = opened.run(
            "return ['plane-Axial', 'plane-Coronal', 'plane-Sagittal', 'panel-evidence', 'panel-case', 'label-list']"
            ".map((id) => document.getElementById(id).getBoundingClientRect().height)"
        )
        assert min(shown) > 50
        line = opened.run("return document.querySelector('.in-print').innerText")
        assert line.startswith("HiResCAM of nodule, Stretch; positive evidence, interpolated; window")
        hidden = opened.run(
            "return ['toolbar', 'panel-map'].map((id) => document.getElementById(id).offsetHeight)"
        )
        assert hidden == [0, 0]
    finally:
        opened.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
