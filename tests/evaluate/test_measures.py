"""Measures with known answers, and against a naive re-implementation and Quantus where that is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hirescam_cli.evaluate.cells import MaskOnCells
from hirescam_cli.evaluate.lesions import components, local_maxima
from hirescam_cli.evaluate.measures import Measures, Place, measure
from hirescam_cli.evaluate.ranking import Ranking, auroc
from hirescam_cli.geometry import Grid
from hirescam_cli.geometry import affine as affines

CELLS = Grid((5, 4, 3), affines.from_parts(np.diag([10.0, 20.0, 30.0]), [1.0, 2.0, 3.0]))
VOXELS = (2, 4, 6)
FINE = CELLS.child(affines.scaling((0.5, 0.25, 1 / 6), (-0.25, -0.375, -5 / 12)), (10, 16, 18))


def whole(cells: np.ndarray) -> np.ndarray:
    """The voxels of `FINE` in cells that are chosen."""
    for axis, count in enumerate(VOXELS):
        cells = np.repeat(cells, count, axis)
    return cells


def cells_at(*places: tuple[int, int, int]) -> np.ndarray:
    chosen = np.zeros(CELLS.shape, dtype=bool)
    for place in places:
        chosen[place] = True
    return chosen


def measured(
    h: np.ndarray, mask: np.ndarray, scores: np.ndarray | None = None, tolerance: float = 20.0
) -> tuple[Measures, Place]:
    found = MaskOnCells(mask, FINE.affine_ras, CELLS)
    parts = [MaskOnCells(part, found.affine, CELLS) for part in components(found.array)]
    near = float((found.distances_mm <= tolerance).mean())
    share = found.share
    place = Place(float(share.mean()), float(share.max()), near, 1.0, found.volume_mm3 / 1000, len(parts))
    reached = np.ones(CELLS.shape, dtype=bool)
    peaks = local_maxima(h, len(parts))
    return measure(h, found, parts, place, reached, scores, peaks, tolerance), place


SOME = cells_at((1, 1, 1), (1, 2, 1), (2, 1, 1))


def test_a_map_that_is_its_mask() -> None:
    found, place = measured(np.where(SOME, 0.7, 0.0), whole(SOME))
    assert (found.hit, found.centre_in, found.near) == (True, True, True)
    assert (found.distance_mm, found.gap_mm) == (0.0, 0.0)
    assert found.evidence_in == pytest.approx(1.0)
    assert found.evidence_touching == pytest.approx(1.0)
    assert found.ap == pytest.approx(1.0)
    assert found.rank == pytest.approx(1.0)
    assert found.score == pytest.approx(1.0)
    assert found.signed_in == pytest.approx(2.1)
    assert found.negative_in is None
    assert found.lift == pytest.approx(20.0)
    assert (place.chance, place.ceiling) == (pytest.approx(3 / 60), pytest.approx(1.0))
    assert found.lesions_found == place.lesions == 1


def test_a_uniform_map_is_chance() -> None:
    mask = whole(SOME)
    mask[0:3, 0:3, 0:3] = True
    found, place = measured(np.full(CELLS.shape, 0.3), mask)
    assert found.evidence_in == pytest.approx(place.chance)
    assert found.lift == pytest.approx(1.0)
    assert found.score == pytest.approx(0.0)
    assert found.ap == pytest.approx(place.chance)
    assert found.rank == pytest.approx(place.chance)
    # All cells are the peak: the worst counts.
    assert (found.hit, found.centre_in, found.near) == (False, False, False)
    away = MaskOnCells(mask, FINE.affine_ras, CELLS).distances_mm
    assert found.distance_mm == pytest.approx(away.max())


def test_a_map_without_positive_evidence_points_nowhere() -> None:
    found, _ = measured(np.full(CELLS.shape, -1.0), whole(SOME))
    assert (found.hit, found.centre_in, found.near) == (False, False, False)
    assert (found.distance_mm, found.gap_mm, found.evidence_in, found.evidence_touching) == (None,) * 4
    assert (found.lift, found.score) == (None, None)
    assert found.negative_in == pytest.approx(3 / 60)
    assert found.signed_in == pytest.approx(-3.0)
    assert found.lesions_found == 0


def test_a_mirrored_mask_is_missed() -> None:
    h = np.where(SOME, 0.7, 0.0)
    found, _ = measured(h, whole(SOME)[::-1, ::-1, ::-1])
    assert (found.hit, found.evidence_in, found.evidence_touching) == (False, 0.0, 0.0)
    assert found.distance_mm is not None
    assert found.distance_mm > 0


def test_of_equal_peaks_the_worst_counts() -> None:
    h = np.where(cells_at((1, 1, 1), (4, 3, 2)), 2.0, 0.0)
    found, _ = measured(h, whole(cells_at((1, 1, 1))))
    assert not found.hit
    single, _ = measured(np.where(cells_at((4, 3, 2)), 2.0, 0.0), whole(cells_at((1, 1, 1))))
    assert found.distance_mm == single.distance_mm
    assert found.gap_mm == single.gap_mm


def test_signed_evidence_adds_over_disjoint_masks_and_scale_changes_nothing_else() -> None:
    rng = np.random.default_rng(0)
    h = rng.normal(size=CELLS.shape)
    one, other = rng.random(FINE.shape) < 0.1, rng.random(FINE.shape) < 0.1
    other &= ~one
    sums = [measured(h, mask)[0].signed_in for mask in (one, other, one | other)]
    assert sums[0] + sums[1] == pytest.approx(sums[2])
    found, scaled = measured(h, one)[0], measured(3.0 * h, one)[0]
    assert scaled.signed_in == pytest.approx(3.0 * found.signed_in)
    same = replace(scaled, signed_in=found.signed_in)
    for name, value in vars(same).items():
        assert value == pytest.approx(vars(found)[name]), name


def test_near_and_the_distance_by_hand() -> None:
    mask = np.zeros(FINE.shape, dtype=bool)
    mask[2, 4, 6] = True
    # Cell (1, 1, 1) is centred 2.5, 7.5 and 12.5 mm off that voxel, which is its first one.
    found, _ = measured(np.where(cells_at((1, 1, 1)), 1.0, 0.0), mask)
    expected = float(np.sqrt(2.5**2 + 7.5**2 + 12.5**2))
    assert found.distance_mm == pytest.approx(expected)
    assert (found.hit, found.centre_in, found.near, found.gap_mm) == (True, False, True, 0.0)
    assert not measured(np.where(cells_at((1, 1, 1)), 1.0, 0.0), mask, tolerance=expected - 0.01)[0].near


def test_slices() -> None:
    mask = whole(cells_at((1, 1, 1), (2, 1, 1)))
    found, _ = measured(np.ones(CELLS.shape), mask, np.array([0.0, 5.0, 1.0, 2.0, -1.0]))
    assert found.slice_hit
    # Against the slices that it meets not, 1 and 2: five of six comparisons are right.
    assert found.slice_auroc == pytest.approx(5 / 6)
    assert measured(np.ones(CELLS.shape), mask, np.array([9.0, 5, 1, 2, -1]))[0].slice_hit is False
    assert measured(np.ones(CELLS.shape), mask)[0].slice_hit is None


def test_lesions_are_found_by_as_many_maxima() -> None:
    mask = whole(cells_at((0, 0, 0), (4, 3, 2), (2, 0, 2)))
    h = np.zeros(CELLS.shape)
    h[0, 0, 0], h[4, 3, 2], h[0, 3, 0], h[2, 0, 2] = 4.0, 3.0, 2.0, 1.0
    found, place = measured(h, mask)
    assert (place.lesions, found.lesions_found) == (3, 2)


def naive(h: np.ndarray, share: np.ndarray) -> dict[str, float]:
    """The same figures, cell by cell."""
    cells = list(np.ndindex(*h.shape))
    positive = sum(max(h[c], 0.0) for c in cells)
    order = sorted(cells, key=lambda c: -h[c])
    found = precision = 0.0
    for n, cell in enumerate(order, 1):
        found += share[cell]
        precision += share[cell] * found / n
    count = max(1, round(float(share.sum())))
    return {
        "evidence_in": sum(max(h[c], 0.0) * share[c] for c in cells) / positive,
        "evidence_touching": sum(max(h[c], 0.0) for c in cells if share[c] > 0) / positive,
        "negative_in": sum(max(-h[c], 0.0) * share[c] for c in cells) / sum(max(-h[c], 0) for c in cells),
        "signed_in": sum(h[c] * share[c] for c in cells),
        "ap": precision / share.sum(),
        "rank": sum(share[c] for c in order[:count]) / count,
        "hit": share[order[0]] > 0,
    }


@pytest.mark.parametrize("seed", range(10))
def test_a_naive_reimplementation_agrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, mask = rng.normal(size=CELLS.shape), rng.random(FINE.shape) < rng.choice([0.002, 0.1, 0.6])
    mask[3, 3, 3] = True
    share = mask.reshape(5, 2, 4, 4, 3, 6).mean(axis=(1, 3, 5))
    found, _ = measured(h, mask)
    for name, value in naive(h, share).items():
        assert getattr(found, name) == pytest.approx(value), name


@pytest.mark.parametrize("seed", range(5))
def test_quantus_agrees_on_masks_of_whole_cells(seed: int) -> None:
    pytest.importorskip("quantus", exc_type=ImportError)
    from quantus import PointingGame, RelevanceMassAccuracy, RelevanceRankAccuracy

    rng = np.random.default_rng(seed)
    h = rng.random(CELLS.shape)
    chosen = rng.random(CELLS.shape) < 0.2
    chosen[0, 0, 0] = True
    found, _ = measured(h, whole(chosen))
    flat = {"a_batch": h.reshape(1, -1), "s_batch": chosen.reshape(1, -1)}
    figures = [
        metric(disable_warnings=True, abs=False, normalise=False).evaluate_batch(**flat)[0]
        for metric in (PointingGame, RelevanceMassAccuracy, RelevanceRankAccuracy)
    ]
    assert figures[0] == found.hit
    assert figures[1] == pytest.approx(found.evidence_in)
    assert figures[2] == pytest.approx(found.rank)


def test_ranking_by_hand() -> None:
    values, share = np.array([3.0, 2.0, 2.0, 1.0]), np.array([1.0, 0.0, 1.0, 0.0])
    # One step at 3 (precision 1), one at 2 (precision 2/3), each finding half.
    assert Ranking.of(values, share).average_precision() == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert Ranking.of(values, 0 * share).average_precision() is None
    # The second place is shared by the two cells of value 2.
    assert Ranking.of(values, share).share_of_highest(2) == pytest.approx(1.5 / 2)
    assert auroc(values, share > 0) == pytest.approx((2 + 1.5) / 4)
    assert auroc(values, share > 5) is None
