"""Training material, targets, losses and figures, against hand-worked values; training itself in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from hirescam_cli.evaluate.ranking import auroc
from hirescam_cli.model.architectures.axialnet import AxialNet
from hirescam_cli.model.spec import load_spec
from hirescam_cli.phantom import FINDINGS, make_phantom
from hirescam_cli.phantom.data import (
    BINS,
    ORIENTATIONS,
    PREPARATION,
    SLICES,
    SUBTRACT,
    WINDOW_HU,
    Cache,
    build_cache,
    lesion_bins,
    make_example,
    to_cells,
    varied_phantom,
    windowed,
)
from hirescam_cli.phantom.sampling import Sampler, targets
from hirescam_cli.phantom.train import (
    HEAD_CHANNELS,
    TRUNK_WIDTH,
    ScanHead,
    Schedule,
    group_loss,
    head_maps,
    network_values,
    train,
)
from hirescam_cli.prepare import prepare


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return build_cache(tmp_path_factory.mktemp("cache"), 40, 3, workers=1)


def test_training_prepares_scans_as_the_model_description_says() -> None:
    spec = load_spec("demo")
    assert spec.preparation == PREPARATION
    assert spec.labels == FINDINGS
    assert spec.parameters == {"trunk_width": TRUNK_WIDTH, "head_channels": list(HEAD_CHANNELS)}


def test_varied_phantoms_come_in_all_orientations_and_many_spacings() -> None:
    assert len(set(ORIENTATIONS)) == 48
    some = [varied_phantom(seed).volume for seed in range(6)]
    assert len({v.orientation for v in some}) >= 5
    spacings = {tuple(round(s, 3) for s in v.spacing_mm) for v in some}
    assert len(spacings) == 6
    assert all(0.7 < s <= 5.0 for spacing in spacings for s in spacing)


def test_windowed_matches_what_the_network_is_fed() -> None:
    hu = np.array([[[-1000, -300, 400, 900, -1000, 47]]], dtype=np.int16)
    np.testing.assert_array_equal(windowed(hu), [[[0, 128, 255, 255, 0, 191]]])
    low, high = WINDOW_HU
    exact = (np.clip(hu, low, high) - low) / (high - low) - SUBTRACT
    fed = network_values(windowed(hu)[None]).numpy()[0]
    np.testing.assert_allclose(fed, exact, atol=0.5 / 255 + 1e-6)


def test_lesion_bins_hold_the_volume_at_the_place_where_preparation_puts_it() -> None:
    phantom = make_phantom(4, findings=["mass"], spacing_mm=(1.5, 1.5, 3.0), orientation="SAR")
    prepared = prepare(phantom.volume, PREPARATION)
    bins, ml = lesion_bins(phantom, prepared)
    assert ml.sum() == pytest.approx(phantom.lesions[0].volume_ml, rel=1e-4)
    label, z, y, x = np.unravel_index(bins, (len(FINDINGS), SLICES, BINS, BINS))
    assert set(label) == {FINDINGS.index("mass")}
    middle = [int(np.average(i, weights=ml)) for i in (z, y, x)]
    soft = prepared.array_ijk[middle[0], middle[1] * 10 + 5, middle[2] * 10 + 5]
    assert soft > -100, "the voxel at the middle of the bins is in the mass, which is soft tissue in the lung"
    point = np.linalg.inv(prepared.affine_ras) @ (*phantom.lesions[0].centre_mm, 1.0)
    np.testing.assert_allclose(middle, point[:3] / (1, 10, 10), atol=2)


def test_to_cells_sums_blocks_of_the_stretch_placement() -> None:
    bins = np.zeros((1, BINS, BINS))
    bins[0, 6, 7] = 2.0
    bins[0, 0, 13] = 1.0
    bins[0, 41, 41] = 5.0
    cells = to_cells(bins, 6)
    assert cells.shape == (1, 6, 6)
    assert cells[0, 0, 1] == 3.0
    assert cells[0, 5, 5] == 5.0
    assert cells.sum() == 8.0


def test_targets_of_a_nodule_across_two_cells() -> None:
    ml = np.zeros((3, len(FINDINGS), BINS, BINS), dtype=np.float32)
    nodule = FINDINGS.index("nodule")
    ml[0, nodule, 6, 6], ml[0, nodule, 6, 7] = 0.9, 0.1
    ml[1, nodule, 6, 6] = 0.05
    group, cells = targets(ml, np.full((3, len(FINDINGS)), 1.0, dtype=np.float32))
    assert group[:, nodule].tolist() == [1, -1, 0]
    assert cells[0, nodule, 0, 0] == 1
    assert cells[0, nodule, 0, 1] == -1
    assert cells[1, nodule, 0, 0] == -1
    assert (cells[0, nodule] == 0).sum() == 34
    assert not group[:, [n for n in range(len(FINDINGS)) if n != nodule]].any()


def test_batches_are_repeatable_and_their_targets_agree_with_the_scans(cache: Cache) -> None:
    first, second = (Sampler(cache, 7, len(cache)).batch(12) for _ in range(2))
    np.testing.assert_array_equal(first.window, second.window)
    np.testing.assert_array_equal(first.cells, second.cells)
    assert first.window.shape == (12, 3, 420, 420)
    present = cache.present.any(axis=0)
    assert not (first.group[:, ~present] == 1).any()
    assert (first.group == 1).any()
    marked = (first.cells == 1).any(axis=(2, 3))
    assert (first.group == 1)[marked].all()


def test_a_cache_is_made_once_and_again_for_other_seeds(cache: Cache, tmp_path: Path) -> None:
    example = make_example(41)
    np.testing.assert_array_equal(cache.windows[1], example.window_zyx)
    np.testing.assert_array_equal(cache.present[1], example.present)
    slice_ml = cache.slice_ml(1)
    np.testing.assert_allclose(slice_ml.sum(), example.ml.sum(), rtol=1e-5)
    for first in (0, 30, 60):
        np.testing.assert_allclose(
            cache.group_ml(1, first, 3).sum(axis=(1, 2)),
            slice_ml[:, first : first + 3].sum(axis=1),
            rtol=1e-4,
            atol=1e-6,
        )
    again = build_cache(tmp_path, 41, 1, workers=1)
    np.testing.assert_array_equal(again.windows[0], example.window_zyx)
    stamp = (tmp_path / "targets.npz").stat().st_mtime_ns
    build_cache(tmp_path, 41, 1, workers=1)
    assert (tmp_path / "targets.npz").stat().st_mtime_ns == stamp
    build_cache(tmp_path, 42, 1, workers=1)
    assert (tmp_path / "targets.npz").stat().st_mtime_ns != stamp


def test_group_loss_by_hand() -> None:
    """One label, one group; the map is 3 in a wanted cell, -1 in an unwanted one, open elsewhere."""
    maps, cells = torch.zeros(1, 1, 6, 6), torch.full((1, 1, 6, 6), -1)
    maps[0, 0, 0, 0], cells[0, 0, 0, 0] = 3.0, 1
    maps[0, 0, 5, 5], cells[0, 0, 5, 5] = -1.0, 0
    loss = group_loss(maps, torch.tensor([-2.0]), torch.tensor([[1]]), cells)
    wanted, unwanted = 2.0 * np.log(2.0), np.log1p(np.exp(-4.0))
    whole = np.log(2.0)  # score 3 - 1 - 2 = 0
    assert float(loss) == pytest.approx(wanted + unwanted + 2.0 * whole + 0.05, rel=1e-5)


def test_folding_scale_and_offset_leaves_the_scans_logits_as_they_were() -> None:
    torch.manual_seed(0)
    network = AxialNet(len(FINDINGS), 4, (8, 8, 8, 8)).eval()
    head = ScanHead(network)
    with torch.no_grad():
        head.log_scale.copy_(torch.linspace(-1, 2, len(FINDINGS)))
        head.offset.copy_(torch.linspace(-3, 3, len(FINDINGS)))
        scan = torch.randn(1, 2, 3, 420, 420)
        features = network.features(scan[0])
        logits, maps = head(features[None])
        head.fold()
        torch.testing.assert_close(network(scan), logits, rtol=0.02, atol=0.02)
        folded = head_maps(network, features).sum(dim=(2, 3)).mean(dim=0) + network.fc.bias
        torch.testing.assert_close(folded[None], logits, rtol=1e-4, atol=1e-5)
        assert maps.shape == (2, len(FINDINGS), 6, 6)


def test_training_in_miniature_is_repeatable(cache: Cache) -> None:
    schedule = Schedule(steps=2, hard_steps=1, batch=2, head_epochs=1, head_batch=2)
    first, second = (train(cache, schedule, 2).state_dict() for _ in range(2))
    torch.manual_seed(0)
    fresh = AxialNet(len(FINDINGS), TRUNK_WIDTH, HEAD_CHANNELS).state_dict()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        assert torch.isfinite(value).all()
    assert not torch.equal(first["conv2d.0.weight"], fresh["conv2d.0.weight"])


def test_auroc_against_the_rank_sum() -> None:
    assert auroc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])) == 0.75
    assert auroc(np.array([1.0, 2.0]), np.array([True, True])) is None
    rng = np.random.default_rng(0)
    scores, positive = np.round(rng.normal(size=80), 1), rng.random(80) < 0.4
    scores[positive] += 0.5
    statistic = stats.mannwhitneyu(scores[positive], scores[~positive]).statistic
    assert auroc(scores, positive) == pytest.approx(statistic / (positive.sum() * (~positive).sum()))
