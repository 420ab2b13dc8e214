"""What the page draws, pixel by pixel, against geometry.resample and the pictures' colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.case.view import CaseView, affine_of, matrix
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry import reorient
from hirescam_cli.geometry.resample import linear_at
from hirescam_cli.pictures.colour import negative_ramp, positive_ramp
from tests.page.browser import Browser, chromium
from tests.page.written import write_page
from tests.views import changed, make_case

pytestmark = pytest.mark.browser

PLANES = {"Axial": (0, 2, 1), "Coronal": (1, 2, 0), "Sagittal": (2, 1, 0)}
"""Normal, across and down, as axes of the index (z, y, x)."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module", params=["parallel", "oblique"])
def view(request: pytest.FixtureRequest) -> CaseView:
    """A case with rough maps; "oblique": the maps' axes lie 10 degrees off those of the scan."""
    view = make_case("RAS", slices=99, side=90).view
    for cams in view.native.values():
        cams += np.random.default_rng(9).normal(0, 0.03, cams.shape).astype(np.float32)
    if request.param == "parallel":
        return view
    cosine, sine = np.cos(np.deg2rad(10)), np.sin(np.deg2rad(10))
    middle = affines.apply(view.volume.affine_ras, (np.asarray(view.volume.array_ijk.shape) - 1) / 2)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    about = affines.from_parts(turn, middle - turn @ middle)
    target, seen = view.case.target, view.case.seen
    turned = {name: matrix(about @ affine_of(rows)) for name, rows in target.affines.items()}
    return changed(
        view,
        target=msgspec.structs.replace(target, affines=turned),
        seen=msgspec.structs.replace(seen, affine=matrix(about @ affine_of(seen.affine))),
    )


@pytest.fixture(scope="module")
def opened(browser: Browser, view: CaseView, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    path = tmp_path_factory.mktemp("page") / "case.html"
    write_page(view, path)
    browser.open(path)
    return browser


def drawn(browser: Browser, name: str, **state: Any) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The canvas [rows, columns, 3] after a change of state, and the state."""
    browser.run("window.hirescam.set(arguments[0])", state)
    return browser.canvas(f"plane-{name}"), browser.run("return window.hirescam.state")


def world_of_pixels(
    view: CaseView, name: str, state: dict[str, Any], pixels: NDArray[np.intp], size: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """RAS mm of pixel centres (row, column) of a plane, and which of them lie in the scan."""
    normal, across, down = PLANES[name]
    _, grid = reorient(view.volume.grid, "IPL")
    scale, centre = state["view"]["scale"], state["view"]["centre"]
    index = np.zeros((len(pixels), 3))
    index[:, normal] = state["voxel"][normal]
    for axis, at, extent in ((across, pixels[:, 1], size[1]), (down, pixels[:, 0], size[0])):
        index[:, axis] = centre[axis] + (at + 0.5 - extent / 2) / (scale * grid.spacing_mm[axis])
    inside = ((index > -0.4) & (index < np.asarray(grid.shape) - 0.6)).all(axis=1)
    return affines.apply(grid.affine_ras, index), inside


def expected_colours(values: NDArray[np.float32], limit: float, *, signed: bool) -> NDArray[np.float64]:
    """Colours 0 .. 255 over black at full opacity."""
    strength = np.clip(values / limit, -1 if signed else 0, 1)
    level = np.rint(np.abs(strength) * 255).astype(int)
    ramp = np.where((strength < 0)[:, None], negative_ramp()[level], positive_ramp()[level])
    colours: NDArray[np.float64] = 255 * ramp * (1 - (1 - level / 255) ** 2)[:, None]
    return colours


@pytest.mark.parametrize("name", list(PLANES))
@pytest.mark.parametrize(
    ("placement", "cells"), [("stretch", False), ("receptive-field", False), ("stretch", True)]
)
def test_evidence_is_coloured_as_geometry_has_it(
    opened: Browser, view: CaseView, name: str, placement: str, cells: bool
) -> None:
    cam = view.map_of("gradcam", "nodule")
    limit = float(np.abs(cam).max())
    canvas, state = drawn(
        opened, name, method="gradcam", label=0, placement=placement, cells=cells, signed=True, opacity=1,
        grey=False, crosshair=False, visible=True, level=4000, width=10, voxel=[30, 44, 47],
    )  # fmt: skip
    pixels = np.random.default_rng(1).integers((30, 30), np.array(canvas.shape[:2]) - 30, (400, 2))
    world, inside = world_of_pixels(view, name, state, pixels, canvas.shape)
    index = affines.apply(np.linalg.inv(view.affines_ras[placement]), world)
    box = np.asarray(cam.shape)
    edge = (np.abs(index + 0.5) < 0.05).any(axis=1) | (np.abs(index - box + 0.5) < 0.05).any(axis=1)
    if cells:
        seen = ((index > -0.5) & (index < box - 0.5)).all(axis=1)
        edge |= (np.abs(index % 1 - 0.5) < 0.1).any(axis=1)
        cell = np.clip(np.rint(index).astype(int), 0, box - 1)
        values = np.where(seen, cam[tuple(cell.T)], 0).astype(np.float32)
    else:
        values = linear_at(cam, index)
    wanted = expected_colours(values, limit, signed=True)
    found = canvas[pixels[:, 0], pixels[:, 1], :3].astype(float)
    far_from_letters = np.abs(pixels - np.array(canvas.shape[:2]) / 2).max(axis=1) > 12
    judged = inside & ~edge & far_from_letters
    assert (wanted[judged].max(axis=1) > 60).sum() > 10
    assert np.abs(found - wanted)[judged].max() <= 4


@pytest.mark.parametrize("name", list(PLANES))
def test_exactly_what_lies_outside_the_stretched_cells_is_greyed(
    opened: Browser, view: CaseView, name: str
) -> None:
    canvas, state = drawn(
        opened, name, placement="receptive-field", grey=True, visible=False, crosshair=False,
        level=4000, width=10, voxel=[30, 44, 47],
    )  # fmt: skip
    pixels = np.random.default_rng(2).integers((30, 30), np.array(canvas.shape[:2]) - 30, (600, 2))
    world, inside = world_of_pixels(view, name, state, pixels, canvas.shape)
    index = affines.apply(np.linalg.inv(view.affines_ras["stretch"]), world)
    box = np.asarray(view.cams("hirescam").shape[:3])
    seen = ((index > -0.5) & (index < box - 0.5)).all(axis=1)
    edge = (np.abs(index + 0.5) < 0.03).any(axis=1) | (np.abs(index - box + 0.5) < 0.03).any(axis=1)
    judged = inside & ~edge & (np.abs(pixels - np.array(canvas.shape[:2]) / 2).max(axis=1) > 12)
    grey = canvas[pixels[:, 0], pixels[:, 1], 0] > 30
    assert (judged & seen).sum() > 20
    assert (judged & ~seen).sum() > 20
    np.testing.assert_array_equal(grey[judged], ~seen[judged])


def test_threshold_hides_weak_evidence_and_sign_hides_negative(opened: Browser) -> None:
    base = {
        "placement": "stretch",
        "grey": False,
        "visible": True,
        "crosshair": False,
        "level": 4000,
        "width": 10,
    }

    def coloured(**state: Any) -> int:
        canvas, _ = drawn(opened, "Axial", **{**base, "opacity": 1, **state})
        return int((canvas[40:-40, 40:-40, :3].max(axis=2) > 8).sum())

    everything = coloured(signed=True, threshold=0, method="hirescam")
    positive = coloured(signed=False, threshold=0)
    strong = coloured(signed=False, threshold=0.5)
    assert everything > positive > strong > 0
    assert coloured(threshold=1.0) < strong
    assert coloured(visible=False) == 0


def test_zoom_and_pan_move_all_planes_together(opened: Browser) -> None:
    before = opened.run("return hirescam.state.view")
    opened.keys("+", "+")
    zoomed, state = drawn(opened, "Axial", crosshair=True, visible=False, grey=False)
    assert state["view"]["scale"] == pytest.approx(before["scale"] * 1.25**2)
    blue = (zoomed[:, :, 2].astype(int) - zoomed[:, :, 0] > 80).sum(axis=0)
    column = int(blue.argmax())
    _, grid = reorient(make_case("RAS").view.volume.grid, "IPL")
    expected = (
        zoomed.shape[1] / 2
        + (state["voxel"][2] - state["view"]["centre"][2]) * grid.spacing_mm[2] * state["view"]["scale"]
    )
    assert abs(column - expected) <= 1.5
    opened.keys("0")
    assert opened.run("return hirescam.state.view.scale") == pytest.approx(before["scale"])
