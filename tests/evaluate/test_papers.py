"""The papers' measures with known answers, their error included."""

from __future__ import annotations

import numpy as np
import pytest

from hirescam_cli.evaluate.cells import MaskOnCells
from hirescam_cli.evaluate.pairs import Answer, Outcome, Pair
from hirescam_cli.evaluate.paper_summary import paper_results
from hirescam_cli.evaluate.papers import (
    THRESHOLDS,
    iou_ceiling,
    iou_otsu,
    organ_precision,
    otsu,
    paper_figures,
)
from hirescam_cli.geometry import Grid
from hirescam_cli.geometry import affine as affines

CELLS = Grid((4, 4, 4), np.diag([10.0, 10.0, 10.0, 1.0]))
FINE = CELLS.child(affines.scaling((0.2,) * 3, (-0.4,) * 3), (20, 20, 20))


def test_the_thresholds_are_the_papers() -> None:
    assert len(THRESHOLDS) == 53
    assert THRESHOLDS[:5].tolist() == pytest.approx([0.004, 0.008, 0.012, 0.016, 0.02])
    assert THRESHOLDS[-1] == pytest.approx(0.98)


def test_a_flawless_map_is_0_with_the_error_and_1_without() -> None:
    allowed = np.zeros((4, 4, 4), dtype=bool)
    allowed[1, 1:3, 2] = True
    precision, authors = organ_precision(np.where(allowed, 2.0, -1.0), allowed)
    assert (precision == 1.0).all()
    assert (authors == 0.0).all()


def test_precision_against_the_papers_loop() -> None:
    rng = np.random.default_rng(0)
    h, allowed = rng.normal(size=(4, 4, 4)), rng.random((4, 4, 4)) < 0.3
    precision, authors = organ_precision(h, allowed)
    p = np.maximum(h, 0)
    p = (p - p.min()) / (p.max() - p.min())
    for n, threshold in enumerate(THRESHOLDS):
        a, b = int((p > threshold)[allowed].sum()), int((p > threshold)[~allowed].sum())
        assert authors[n] == pytest.approx(a / (a + b) if a != 0 and b != 0 else 0)
        assert precision[n] == pytest.approx(a / (a + b))


def test_where_nothing_passes_there_is_no_precision() -> None:
    precision, authors = organ_precision(np.full((2, 2, 2), -1.0), np.ones((2, 2, 2), dtype=bool))
    assert np.isnan(precision).all()
    assert (authors == 0.0).all()


@pytest.mark.parametrize("seed", range(4))
def test_otsu_is_that_of_opencv(seed: int) -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(seed)
    levels = np.clip(np.r_[rng.normal(60, 20, 900), rng.normal(170, 25, 400)], 0, 255).astype(np.uint8)
    expected, _ = cv2.threshold(levels.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    assert otsu(levels) == expected


def test_iou_and_its_ceiling() -> None:
    mask = np.zeros(FINE.shape, dtype=bool)
    mask[5:10, 5:10, 5:10] = True
    found = MaskOnCells(mask, FINE.affine_ras, CELLS)
    assert iou_ceiling(found) == pytest.approx(1.0)
    mask[10:11, 5:10, 5:10] = True
    # Of 150 voxels the full cell holds 125; the next would add 25 right ones and 100 wrong ones.
    assert iou_ceiling(MaskOnCells(mask, FINE.affine_ras, CELLS)) == pytest.approx(125 / 150)
    h = np.zeros(CELLS.shape)
    h[1, 1, 1] = 1.0
    assert 0.1 < iou_otsu(h, found) < 1.0
    assert iou_otsu(h[::-1], found) < iou_otsu(h, found)
    assert iou_otsu(np.ones(CELLS.shape), found) == 0.0


def pair(case: str, split: str | None, h: np.ndarray, mask: MaskOnCells, outcome: Outcome) -> Pair:
    answer = Answer(case, case, split, "nodule", 1.0, 0.7, True, outcome, "used")
    return Pair(answer, "hirescam", "stretch", None, None, paper_figures(h, mask))


def test_thresholds_are_chosen_on_the_valid_split_where_there_is_one() -> None:
    mask = np.zeros(FINE.shape, dtype=bool)
    mask[5:10, 5:10, 5:10] = True
    found = MaskOnCells(mask, FINE.affine_ras, CELLS)
    sharp, blunt = np.full(CELLS.shape, 0.3), np.full(CELLS.shape, 0.7)
    for h in (sharp, blunt):
        h[1, 1, 1], h[0, 0, 0] = 1.0, 0.0
    pairs = [
        pair("a", "valid", sharp, found, "true_positive"),
        pair("b", "test", blunt, found, "true_positive"),
        pair("c", "test", sharp, found, "false_negative"),
    ]
    (tuned,) = paper_results(pairs)
    assert (tuned.n, tuned.tuned_on) == (1, "valid")
    # From 0.3 on only the right cell of the valid map passes; at 0.3 of the other one everything still does.
    assert tuned.threshold == pytest.approx(0.3)
    assert tuned.organ_precision == pytest.approx(1 / 63)
    (same,) = paper_results(pairs[1:])
    assert (same.n, same.tuned_on, same.threshold) == (1, "the same pairs", pytest.approx(0.7))
    assert same.organ_precision == 1.0
    assert same.organ_precision_authors == pytest.approx(1 / 63)
