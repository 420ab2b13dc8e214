"""What the page draws of masks and of the ledger: outlines by slice, parts of logits, and that they fit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hirescam_cli.case.view import CaseView, Outlined
from hirescam_cli.evaluate.tables import read_ledger
from hirescam_cli.geometry import affine as affines
from hirescam_cli.masks.mask import Mask
from hirescam_cli.page import page_text
from hirescam_cli.page.encode import pack_scan
from hirescam_cli.page.evaluated import evaluated_of
from tests.views import make_case


def with_box(view: CaseView, size: int, label: str | None) -> CaseView:
    """The view with a mask on the scan's own grid: a box of `size` voxels a side from voxel (4, 5, 6) on."""
    inside = np.zeros(view.volume.array_ijk.shape, dtype=bool)
    inside[4 : 4 + size, 5 : 5 + size, 6 : 6 + size] = True
    mask = Mask("box", inside, view.volume.affine_ras, Path("masks/box.nii.gz"), "0" * 64)
    return replace(view, masks=(*view.masks, Outlined(mask, label)))


def described(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(re.search(r'id="case-json">(.*?)</script>', text, re.DOTALL)[1])
    return found


@pytest.mark.parametrize("degrees", [0.0, 12.0])
def test_a_masks_outline_runs_round_its_voxels_in_every_slice(degrees: float) -> None:
    view = with_box(make_case("RAS", degrees=degrees).view, 10, "nodule")
    data = described(page_text(view))
    (outline,) = data["outlines"]
    assert (outline["name"], outline["label"]) == ("box", "nodule")
    assert {plane: len(slices) for plane, slices in outline["lines"].items()} == dict.fromkeys(
        ("Axial", "Coronal", "Sagittal"), 10
    )
    embedded = np.array(data["scan"]["affine"])
    for plane, normal, (across, down) in (
        ("Axial", 0, (2, 1)),
        ("Coronal", 1, (2, 0)),
        ("Sagittal", 2, (1, 0)),
    ):
        corners = []
        for at, lines in outline["lines"][plane].items():
            index = np.zeros((len(lines[0]) // 2, 3))
            index[:, normal] = int(at)
            index[:, across], index[:, down] = lines[0][0::2], lines[0][1::2]
            corners.append(affines.apply(embedded, index))
        voxels = affines.apply(np.linalg.inv(view.volume.affine_ras), np.concatenate(corners))
        low, high = voxels.min(axis=0), voxels.max(axis=0)
        # Across the slices the outermost lie in the middle of voxels; within them, on the voxels' outer faces.
        across_slices = int(np.argmin(high - low))
        for axis, start in enumerate((4, 5, 6)):
            half = 0.0 if axis == across_slices else 0.5
            assert low[axis] == pytest.approx(start - half, abs=0.03)
            assert high[axis] == pytest.approx(start + 9 + half, abs=0.03)


def test_the_room_that_is_kept_is_enough() -> None:
    view = with_box(with_box(make_case().view, 40, None), 25, "nodule")
    evaluated = evaluated_of(view)
    text = json.dumps(evaluated.describe(pack_scan(view.volume, 10**7)), separators=(",", ":"))
    assert len(text) < evaluated.room


def test_masks_with_very_long_outlines_are_outlined_on_larger_pixels() -> None:
    view = make_case().view
    rough = np.random.default_rng(1).random(view.volume.array_ijk.shape) > 0.5
    mask = Mask("rough", rough, view.volume.affine_ras, Path("masks/rough.nii.gz"), "0" * 64)
    (outline,) = evaluated_of(replace(view, masks=(Outlined(mask),))).outlines
    assert re.fullmatch(r"rough, on pixels \d+ times as large", outline.name)
    assert sum(len(line.points_mm) for line in outline.lines) < 400_000
    heights = {round(float(line.points_mm[0, 2]), 3) for line in outline.lines if line.plane == "axial"}
    assert len(heights) == view.volume.array_ijk.shape[2]


def test_the_ledger_of_a_case_is_read_back_from_its_table(tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text(
        "case,label,method,placement,region,logits\n"
        "a,nodule,hirescam,stretch,bias,0.5\n"
        "a,nodule,hirescam,stretch,'=lung,-1.25\n"
        "a,nodule,hirescam,receptive-field,lung,7\n"
        "b,nodule,hirescam,stretch,lung,8\n"
    )
    rows = (("nodule", "hirescam", "bias", 0.5), ("nodule", "hirescam", "=lung", -1.25))
    assert read_ledger(path, "a", "stretch") == rows
    assert read_ledger(tmp_path / "none.csv", "a", "stretch") == ()
    data = described(page_text(replace(make_case().view, ledger=rows)))
    assert [tuple(row.values()) for row in data["ledger"]] == list(rows)
    path.write_text("another,table\n1,2\n")
    assert read_ledger(path, "a", "stretch") == ()
