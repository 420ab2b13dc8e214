"""The mosaic of a case and the contact sheet of a batch."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from hirescam_cli.case.record import CaseError, FailedCase
from hirescam_cli.case.view import CaseView
from hirescam_cli.pictures import draw_mosaic
from hirescam_cli.pictures.contact import CASES_A_SHEET, axial_of, contact_of, render_contact_sheet
from hirescam_cli.pictures.figure import lay_out, render_label
from hirescam_cli.pictures.mosaic import lay_out_tiles
from hirescam_cli.pictures.scene import make_scene
from hirescam_cli.results import png
from hirescam_cli.results.format import Request, Style
from tests.views import changed, make_case


@pytest.fixture(scope="module")
def view() -> CaseView:
    """Seven labels, of which five are positive."""
    view = make_case(labels=[f"label {n}" for n in range(7)]).view
    labels = tuple(msgspec.structs.replace(one, positive=one.index % 3 != 2) for one in view.case.labels)
    return changed(view, labels=labels)


def test_the_mosaic_has_a_tile_for_each_positive_label_most_probable_first(
    view: CaseView, texts: list[str]
) -> None:
    target = io.BytesIO()
    draw_mosaic(view, "hirescam", target)
    names = [text for text in texts if text.startswith("label ")]
    positive = [label.name for label in view.case.ranked if label.positive]
    assert names == positive
    assert len(names) == 5
    assert "5 positive labels, HiResCAM" in texts
    picture = np.asarray(Image.open(target)).astype(int)
    assert picture.shape[1] == 1200
    # Each tile has the colour of full strength in it, over the scan: yellow at its map's peak.
    tiles = lay_out_tiles(make_scene(view, "hirescam", "label 0").box)
    for n in range(5):
        x, y = 24 + (n % 4) * 292, 84 + (n // 4) * tiles.pitch + 58
        tile = picture[y : y + tiles.rows, x : x + 274]
        assert (tile[..., 0] - tile[..., 2]).max() > 90, n


def test_a_mosaic_is_written_where_more_than_one_label_is_positive(view: CaseView, tmp_path: Path) -> None:
    made = png.write(Request(tmp_path, view, view, ("label 0",), Style()))
    assert [one.path for one in made if one.path.startswith("mosaic")] == [
        "mosaic.hirescam.png",
        "mosaic.gradcam.png",
    ]
    one = make_case().view
    (tmp_path / "one").mkdir()
    made = png.write(Request(tmp_path / "one", one, one, ("nodule",), Style()))
    assert not [made_one for made_one in made if made_one.path.startswith("mosaic")]


def test_a_contact_shows_the_axial_plane_of_the_picture(view: CaseView) -> None:
    scene = make_scene(view, "hirescam", "label 0")
    picture = render_label(scene)
    layout = lay_out(scene.box)
    plane = axial_of(view.case, picture)
    assert plane is not None
    wanted = scene.plane("axial", layout.step_mm).rgb(view.window_hu, scene.scale)
    assert plane.shape == wanted.shape
    # But for letters, crosshair and ruler it is the plane itself.
    assert (np.abs(plane.astype(int) - wanted).max(axis=2) <= 1).mean() > 0.97
    assert axial_of(view.case, picture[:-1]) is None


def test_a_sheet_names_cases_findings_and_failures(view: CaseView, texts: list[str]) -> None:
    error = CaseError(code="x", stage="read", message="scan.nii is not a NIfTI file", hint=None)
    failed = FailedCase(schema_version=2, case="bad", started=None, error=error)
    scene = make_scene(view, "hirescam", "label 0")
    contacts = [contact_of("good", view.case, render_label(scene)), contact_of("bad", failed, None)]
    texts.clear()
    sheet = render_contact_sheet(contacts).astype(int)
    assert sheet.shape[1] == 1200
    for wanted in (
        "2 cases",
        "good",
        "0.990 label 0",
        "and 2 more positive",
        "failed",
        "scan.nii is not a NIfTI file",
    ):
        assert wanted in [" ".join(text.split()) for text in texts], wanted
    tile = sheet[76 : 76 + 160, 24 : 24 + 217]
    assert (tile[..., 0] - tile[..., 2]).max() > 90
    assert CASES_A_SHEET == 60
