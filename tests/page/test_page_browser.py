"""The page of a case in a real browser: what it shows is what nibabel finds at the same place."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.case.view import CaseView
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import linear_at
from tests.page.browser import Browser
from tests.page.page_browser_world import HOSTILE, state
from tests.page.written import write_page
from tests.views import Known


def points_in(view: CaseView, count: int) -> NDArray[np.float64]:
    """Random RAS points in the scan's box."""
    shape = np.asarray(view.volume.array_ijk.shape)
    index = np.random.default_rng(20).uniform(-0.49, shape - 0.51, (count, 3))
    return affines.apply(view.volume.affine_ras, index)


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
    columns = np.nonzero((grey[:-40] > 250).sum(axis=0) > 3)[0]
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
