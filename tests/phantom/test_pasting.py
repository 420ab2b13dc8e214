"""Nodules pasted into training scans: volume, place, values, and the targets that follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from hirescam_cli.phantom import FINDINGS
from hirescam_cli.phantom.anatomy import draw_anatomy
from hirescam_cli.phantom.data import BIN_PX, BINS, SIDE, SLICES, SPACING_MM, WINDOW_HU, Cache, build_cache
from hirescam_cli.phantom.lesions import Focal
from hirescam_cli.phantom.pasting import RADIUS_MM, Nodule, draw_nodule, find_lung, paste
from hirescam_cli.phantom.placing import draw_lesions
from hirescam_cli.phantom.sampling import Sampler, paste_scan, scan_targets

NODULE = FINDINGS.index("nodule")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return build_cache(tmp_path_factory.mktemp("cache"), 40, 3, workers=1)


def ball(radius_mm: float, value: float = 190.0) -> Nodule:
    return Nodule(radius_mm, np.array([[0.0, 0.0, 0.0, radius_mm, radius_mm, radius_mm]]), value, 1.4)


def lung(slices: int) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0.0, 3.0, (slices, SIDE, SIDE))
    return np.rint(27.0 + grain).astype(np.uint8)


def test_a_pasted_ball_has_its_volume_place_and_value() -> None:
    before = lung(13)
    window = before.copy()
    ml = paste(window, ball(9.0), (6.0, 105.0, 215.0))
    assert ml.sum() == pytest.approx(4.0 / 3.0 * np.pi * 0.9**3, rel=0.05)
    z, y, x = np.nonzero(ml)
    assert (z.min(), z.max()) in ((3, 9), (4, 8))
    assert {*y} <= {9, 10, 11}
    assert {*x} <= {20, 21, 22}
    core = window[5:8, 100:111, 210:221].astype(float)
    assert core.mean() == pytest.approx(190.0, abs=1.5)
    assert core.std() == pytest.approx(3.0, abs=0.7), "the lung's noise goes on in the nodule"
    changed = np.argwhere(window != before)
    reach = (9.0 + 1.4) / np.array(SPACING_MM)
    assert (np.abs(changed - [6, 105, 215]) <= reach).all()


def test_a_nodule_across_the_border_of_the_window_is_cut() -> None:
    window = lung(3)
    assert paste(window.copy(), ball(6.0), (-4.0, 100.0, 100.0)).sum() == 0.0
    half = paste(window, ball(6.0), (1.0, 100.0, 0.0))
    assert 0.0 < half.sum() < 0.6 * paste(lung(3), ball(6.0), (1.0, 100.0, 200.0)).sum()
    assert set(np.nonzero(half)[2]) == {0}


def test_largest_ml_is_a_ball_cut_by_a_layer() -> None:
    assert ball(6.0).largest_ml(100.0) == pytest.approx(4.0 / 3.0 * np.pi * 0.6**3)
    heights = np.linspace(-4.5, 4.5, 20001)
    slab = np.trapezoid(np.pi * (9.0**2 - heights**2), heights) / 1000.0
    assert ball(9.0).largest_ml(9.0) == pytest.approx(slab, rel=1e-6)


def test_drawn_nodules_follow_the_phantoms_distribution() -> None:
    """Against nodules of phantoms: size, HU, and how the outline is put together (of each nodule its first lobe)."""
    rng = np.random.default_rng(3)
    drawn = [draw_nodule(rng) for _ in range(1500)]
    low, high = WINDOW_HU
    ours = [(n.value / 255.0 * (high - low) + low, n.blobs[:, 3:], n.blobs[:, :3]) for n in drawn]
    anatomy = draw_anatomy(np.random.default_rng(5), large_heart=False)
    theirs = []
    for seed in range(400):
        for lesion in draw_lesions(seed, anatomy, ["nodule"]):
            assert isinstance(lesion, Focal)
            shifts = np.array([np.subtract(blob.centre, lesion.centre) for blob in lesion.blobs])
            theirs.append((lesion.hu, np.array([blob.radii for blob in lesion.blobs]), shifts))

    def figures(nodules: list[Any]) -> list[list[float]]:
        hu = [n[0] for n in nodules]
        size = [n[1][0].mean() for n in nodules]
        axis = [n[1][0, 0] / n[1][0].mean() for n in nodules]
        parts = [float(len(n[1])) for n in nodules]
        lobes = [r.mean() / n[1][0].mean() for n in nodules for r in n[1][1:2]]
        shift = [np.linalg.norm(c) / n[1][0].mean() for n in nodules for c in n[2][1:2]]
        return [hu, size, axis, parts, lobes, shift]

    for own, other in zip(figures(ours), figures(theirs), strict=True):
        assert stats.ks_2samp(own, other).pvalue > 0.01
    assert {len(n.blobs) for n in drawn} == {1, 2, 3}
    assert all(RADIUS_MM[0] <= n.radius_mm <= RADIUS_MM[1] for n in drawn)


def test_lung_is_found_where_it_is_and_nowhere_else() -> None:
    window = np.full((3, SIDE, SIDE), 190, dtype=np.uint8)
    rng = np.random.default_rng(0)
    assert find_lung(rng, window, 0, 3, 8.0) is None
    window[:, 100:300, 50:250] = 27
    for _ in range(20):
        place = find_lung(rng, window, 0, 3, 8.0)
        if place is not None:
            assert 95 <= place[1] <= 305
            assert 45 <= place[2] <= 255
            assert -0.5 <= place[0] <= 2.5


def test_batches_with_pasted_nodules_aim_at_them(cache: Cache) -> None:
    """More groups aim at nodules, always at cells with soft tissue; the same seed gives the same batch."""
    plain, pasted = (Sampler(cache, 7, 3, paste_share=p) for p in (0.0, 1.0))
    clear = ~cache.present[:, NODULE]
    assert clear.any()
    batches = [pasted.batch(12) for _ in range(3)]
    again = Sampler(cache, 7, 3, paste_share=1.0).batch(12)
    np.testing.assert_array_equal(batches[0].window, again.window)
    share = np.mean([(b.group[:, NODULE] == 1).mean() for b in batches])
    assert share > np.mean([(plain.batch(12).group[:, NODULE] == 1).mean() for _ in range(3)])
    for batch in batches:
        for n in np.flatnonzero(batch.group[:, NODULE] == 1):
            assert (batch.cells[n, NODULE] >= 0).any()
            for cy, cx in np.argwhere(batch.cells[n, NODULE] == 1):
                cell = batch.window[n, :, cy * 70 : cy * 70 + 70, cx * 70 : cx * 70 + 70]
                assert (cell > 150).any(), "soft tissue in the cell"


def test_a_scan_with_pasted_nodules_and_its_targets(cache: Cache) -> None:
    index = int(np.flatnonzero(~cache.present[:, NODULE])[0])
    window, ml = paste_scan(cache.windows[index], np.random.default_rng(1))
    assert ml.sum() > 0.5
    changed = np.argwhere(window != cache.windows[index])
    filled = np.argwhere(ml)
    for axis, size in enumerate((1, BIN_PX, BIN_PX)):
        assert changed[:, axis].min() // size <= filled[:, axis].min()
        assert changed[:, axis].max() // size >= filled[:, axis].max()
    largest = np.ones((3, len(FINDINGS)), dtype=np.float32)
    scans = np.array([index])
    group, cells = scan_targets(cache, scans, largest, 0, {index: ml})
    without, _ = scan_targets(cache, scans, largest, 0, {})
    best = int(ml.sum(axis=(1, 2)).reshape(-1, 3).sum(axis=1).argmax())
    assert group[best, NODULE] == 1
    assert (cells[best, NODULE] == 1).any()
    assert not without[:, NODULE].any()
    others = [n for n in range(len(FINDINGS)) if n != NODULE]
    np.testing.assert_array_equal(group[:, others], without[:, others])


def test_pasting_leaves_the_cache_alone(cache: Cache) -> None:
    index = int(np.flatnonzero(~cache.present[:, NODULE])[0])
    before = np.array(cache.windows[index])
    paste_scan(cache.windows[index], np.random.default_rng(1))
    Sampler(cache, 0, 3, paste_share=1.0).batch(4)
    np.testing.assert_array_equal(cache.windows[index], before)
    assert before.shape == (SLICES, BINS * BIN_PX, SIDE)
