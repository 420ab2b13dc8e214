"""Windows, fills, shifts and statistics of the referee, each against numbers worked by hand or another library."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hirescam_cli.evaluate import judging
from hirescam_cli.evaluate.fills import BLUR_MM, blurred, filling
from hirescam_cli.evaluate.findings import Agreement, Comparison, Drift, Span
from hirescam_cli.evaluate.occlusion import evidence, evidence_placed
from hirescam_cli.evaluate.shifts import drifts, moved
from hirescam_cli.evaluate.windows import windows_of_group, windows_of_volume
from hirescam_cli.geometry import affine as affines
from hirescam_cli.model.contract import stretched
from tests.evaluate.subjects import Linear, linear, scans

WHOLE = ((-0.5, 401.5), (-0.5, 419.5), (-0.5, 419.5))


def test_windows_of_axialnets_cells() -> None:
    tiles = windows_of_group(5, 3, (134, 6, 6), stretched((134, 6, 6), (402, 420, 420)), WHOLE)
    assert len(tiles) == 36
    assert tiles[7].cells == (slice(5, 6), slice(1, 2), slice(1, 2))
    assert tiles[7].voxels == (slice(15, 18), slice(70, 140), slice(70, 140))
    covered = np.zeros((420, 420), dtype=int)
    for window in tiles:
        covered[window.voxels[1:]] += 1
    assert (covered == 1).all()
    fields = windows_of_group(5, 3, (134, 6, 6), affines.scaling((3, 32, 32), (1, 128, 128)), WHOLE)
    # Centres 128, 160, ..., 288: from 112 to 303.
    assert fields[0].voxels[1] == slice(112, 144)
    assert fields[-1].voxels[1:] == (slice(272, 304), slice(272, 304))


def test_windows_stop_where_the_scan_does() -> None:
    edges = ((15.5, 401.5), (99.5, 419.5), (-0.5, 329.5))
    tiles = windows_of_group(5, 3, (134, 6, 6), stretched((134, 6, 6), (402, 420, 420)), edges)
    assert {(w.voxels[0].start, w.voxels[0].stop) for w in tiles} == {(16, 18)}
    assert {(w.voxels[1].start, w.voxels[1].stop) for w in tiles} == {
        (100, 140), (140, 210), (210, 280), (280, 350), (350, 420),
    }  # fmt: skip
    assert {w.voxels[2].stop for w in tiles} == {70, 140, 210, 280, 330}
    assert windows_of_group(0, 3, (134, 6, 6), stretched((134, 6, 6), (402, 420, 420)), edges) == []


def test_fine_maps_are_taken_in_blocks() -> None:
    shape = (96, 128, 128)
    blocks = windows_of_volume(
        (6, 14, 3), stretched((6, 14, 3), shape), ((-0.5, 95.5), (-0.5, 127.5), (-0.5, 127.5))
    )
    assert len(blocks) == 4 * 4 * 3
    cells, voxels = np.zeros((6, 14, 3), dtype=int), np.zeros(shape, dtype=int)
    for block in blocks:
        cells[block.cells] += 1
        voxels[block.voxels] += 1
    assert (cells == 1).all()
    assert (voxels == 1).all()


def test_evidence_of_a_map_in_the_windows_of_another_placement() -> None:
    shape, cells = (6, 40, 40), (2, 4, 4)
    whole = tuple((-0.5, size - 0.5) for size in shape)
    wide, narrow = stretched(cells, shape), affines.scaling((3.0, 5.0, 5.0), (1.0, 12.0, 12.0))
    cam = np.random.default_rng(0).normal(size=cells).astype(np.float32)
    tiles = windows_of_group(1, 3, cells, wide, whole)
    np.testing.assert_allclose(evidence_placed(cam, tiles, wide), evidence(cam, tiles), atol=1e-6)
    # Narrow cells are centred on 12, 17, 22, 27 and 5 wide: 9.5 to 14.5 lies in the tile from 9.5 to 19.5, and so on.
    found = evidence_placed(cam, tiles, narrow).reshape(4, 4)
    np.testing.assert_allclose(found[1:3, 1:3], cam[1].reshape(2, 2, 2, 2).sum(axis=(1, 3)), atol=1e-6)
    assert (found[[0, 3]] == 0).all()
    # The first narrow window, 9.5 to 14.5, is a quarter of the wide cell (1, 1).
    small = windows_of_group(1, 3, cells, narrow, whole)
    assert evidence_placed(cam, small, wide)[0] == pytest.approx(cam[1, 1, 1] / 4, abs=1e-6)
    blocks = windows_of_volume(cells, wide, whole)
    np.testing.assert_allclose(evidence_placed(cam, blocks, wide), evidence(cam, blocks), atol=1e-6)


def test_a_blur_is_scipys_away_from_the_edges_and_keeps_constants() -> None:
    voxels = np.random.default_rng(0).normal(size=(3, 200, 160)).astype(np.float32)
    found = filling("blur", voxels, np.ones(voxels.shape, bool), (2.4, 2.0, 4.0), 0.0, deep=False)
    expected = ndimage.gaussian_filter(voxels, (0, BLUR_MM / 2.0, BLUR_MM / 4.0), truncate=8)
    np.testing.assert_allclose(found[:, 60:140, 40:120], expected[:, 60:140, 40:120], atol=2e-4)
    deep = filling("blur", voxels, np.ones(voxels.shape, bool), (16.0, 2.0, 4.0), 0.0, deep=True)
    assert np.abs(deep - found).max() > 1e-3
    np.testing.assert_allclose(blurred(np.full((5, 7, 9), 3.25), {0: 2.0, 1: 1.0, 2: 30.0}), 3.25, rtol=1e-6)


def test_the_mean_is_that_of_the_scan_alone() -> None:
    voxels = np.arange(24.0).reshape(2, 3, 4)
    inside = np.zeros(voxels.shape, dtype=bool)
    inside[1, 1:, :2] = True
    found = filling("mean", voxels, inside, (1, 1, 1), -7.0, deep=False)
    assert (found == np.float32((16 + 17 + 20 + 21) / 4)).all()
    assert (filling("air", voxels, inside, (1, 1, 1), -7.0, deep=False) == -7).all()
    with pytest.raises(KeyError):
        filling("noise", voxels, inside, (1, 1, 1), 0.0, deep=False)


def test_a_shift_moves_voxels_and_repeats_the_edge() -> None:
    voxels = np.arange(24).reshape(2, 3, 4)
    found = moved(voxels, (0, 1, -2))
    assert np.array_equal(found[:, 1:, :2], voxels[:, :2, 2:])
    assert np.array_equal(found[:, 0, :2], voxels[:, 0, 2:])
    assert np.array_equal(found[:, 1:, 2], voxels[:, :2, 3])


def spot(row: int, column: int) -> tuple[Linear, object]:
    """A scan that is bright in one place, and a network that likes what is bright."""
    (scan,) = scans(1)
    voxels = np.zeros_like(scan.voxels)
    voxels[6:9, row : row + 4, column : column + 4] = 100.0
    bright = linear()
    return Linear(np.ones_like(bright.weights)), type(scan)("spot", voxels, scan.affine_ras, scan.edges)


def test_a_peak_that_follows_the_scan_does_not_drift() -> None:
    subject, scan = spot(13, 23)
    answer = subject.explain(scan.voxels, ["honest"])
    by_shift = {
        drift.shift: drift
        for drift in drifts(subject, scan, answer, [0], ((0, 10, -10), (0, 1, 1), (1, 0, 0), (3, 0, 0)))
    }
    # A whole cell of 10 pixels: the peak's cell moves as the scan does, and the logit stays.
    assert by_shift[0, 10, -10].peak_mm["stretch"] == pytest.approx(0.0, abs=1e-9)
    assert by_shift[0, 10, -10].logit == pytest.approx(0.0, abs=1e-6)
    # Within its cell the peak stays where the grid is while the scan moves by 0.5 mm along two axes.
    assert by_shift[0, 1, 1].peak_mm["stretch"] == pytest.approx(0.5 * np.sqrt(2))
    assert by_shift[1, 0, 0].peak_mm["stretch"] == pytest.approx(2.0)
    assert by_shift[3, 0, 0].peak_mm["stretch"] == pytest.approx(0.0, abs=1e-9)
    # In the other placement cells are 5 pixels wide: a cell is 2.5 mm, the scan moved 5 mm.
    assert by_shift[0, 10, -10].peak_mm["receptive-field"] == pytest.approx(2.5 * np.sqrt(2))


def test_summaries_of_drift_by_hand() -> None:
    found = [
        Drift(
            case="c", label="l", method="m", shift=(1, 0, 0), logit=logit,
            peak_mm={"stretch": mm, "receptive-field": 0.0},
        )
        for logit, mm in ((-0.3, 2.0), (0.1, 4.0), (0.2, 9.0))
    ]  # fmt: skip
    (summary,) = judging.drift_summaries(found)
    assert (summary.n, summary.logit_median, summary.logit_largest) == (3, 0.2, 0.3)
    assert summary.peak_median_mm == {"stretch": 4.0, "receptive-field": 0.0}


def test_a_mean_over_cases_and_its_interval() -> None:
    values = {"a": [1.0, 3.0], "b": [4.0], "c": []}
    assert judging.span(values, 0) == Span(mean=3.0, low=None, high=None, n=2)
    assert judging.span({"c": []}, 0) is None
    many = {str(n): [float(n % 2)] for n in range(40)}
    span = judging.span(many, 0)
    assert span is not None
    assert span.mean == 0.5
    half = 1.96 * np.sqrt(0.25 / 40)
    assert span.low == pytest.approx(0.5 - half, abs=0.03)
    assert span.high == pytest.approx(0.5 + half, abs=0.03)
    assert judging.span(dict(reversed(many.items())), 0) == span


def agreement(
    case: int, placement: str, fill: str, pearson: float | None, tiling: str | None = None
) -> Agreement:
    return Agreement(
        case=str(case), label="l", method="m", placement=placement, tiling=tiling or placement, fill=fill,
        groups=1, windows=36, pearson=pearson, top_cell=1.0,
    )  # fmt: skip


def compared(blur: float, mean: float) -> tuple[Comparison, ...]:
    """Six cases in which stretch is better by `blur` under one fill and by `mean` under the other."""
    found = []
    for case in range(6):
        for fill, better in (("blur", blur), ("mean", mean)):
            found.append(agreement(case, "stretch", fill, 0.2 + better))
            found.append(agreement(case, "receptive-field", fill, 0.2))
    return judging.comparisons(found, ("m",), "stretch", ("blur", "mean"), 0)


def test_a_verdict_needs_an_interval_without_0_and_fills_of_one_mind() -> None:
    found = judging.verdict(compared(0.4, 0.2), "m")
    assert found.placement == "stretch"
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(0.3)
    assert judging.verdict(compared(-0.4, -0.2), "m").placement == "receptive-field"
    opposite = judging.verdict(compared(0.4, -0.1), "m")
    assert opposite.placement is None
    assert "the fill mean says the opposite" in opposite.reason
    own = [
        agreement(n, p, "mean", r) for n in range(6) for p, r in (("stretch", 0.6), ("receptive-field", 0.2))
    ]
    other = [
        agreement(n, p, "mean", r, "receptive-field")
        for n in range(6)
        for p, r in (("stretch", 0.1), ("receptive-field", 0.2))
    ]
    found = judging.comparisons([*own, *other], ("m",), "stretch", ("mean",), 0)
    smaller = judging.verdict(found, "m")
    assert smaller.placement is None
    assert "in windows of receptive-field occlusion says the opposite" in smaller.reason
    assert judging.verdict((), "m").reason == "no map could be compared"


def test_labels_whose_fills_disagree_are_marked() -> None:
    found = [
        agreement(n, "stretch", fill, r) for n in range(2) for fill, r in (("blur", -0.1), ("mean", 0.3))
    ]
    found += [agreement(n, "receptive-field", fill, 0.3) for n in range(2) for fill in ("blur", "mean")]
    found.append(agreement(2, "stretch", "blur", None))
    marked = {(label.placement, label.fill): label for label in judging.by_label(found, 0)}
    assert [marked["stretch", fill].signs_differ for fill in ("blur", "mean")] == [True, True]
    assert [marked["receptive-field", fill].signs_differ for fill in ("blur", "mean")] == [False, False]
    assert marked["stretch", "blur"].cases == 3
    assert marked["stretch", "blur"].pearson == Span(mean=-0.1, low=None, high=None, n=2)
