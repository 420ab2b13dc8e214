"""What a map says in numbers, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.case.evidence import agreement, certificate, padding_share, padding_weights, peak
from hirescam_cli.case.record import Peak
from hirescam_cli.geometry import Grid
from hirescam_cli.geometry import affine as affines
from tests.geometry.worlds import affine_of


def syx(*values: float) -> NDArray[np.float32]:
    """A map of one slice and one row."""
    return np.array(values, dtype=np.float32).reshape(1, 1, -1)


def test_the_certificate_by_hand() -> None:
    found = certificate(syx(1.5, -2.0, 0.25, 0.0), bias=0.5, logit=0.2501)
    # 1.5 - 2 + 0.25 = -0.25; |-0.25 + 0.5 - 0.2501| = 0.0001, and max(1, 0.2501) = 1
    assert (found.sum, found.bias, found.positive_sum, found.negative_sum) == (
        -0.25,
        0.5,
        1.75,
        -2.0,
    )
    assert found.residual == pytest.approx(1e-4, rel=1e-9)


@pytest.mark.parametrize(
    ("logit", "residual", "complete"),
    [
        (3.00005, 0.00005 / 3.00005, True),
        (3.0, 0.0, True),
        (3.1, 0.1 / 3.1, False),
        (-5.0, 8.0 / 5.0, False),
        (0.0, 3.0, False),
    ],
)
def test_the_residual_is_relative_to_the_logit(logit: float, residual: float, complete: bool) -> None:
    found = certificate(syx(1.0, 1.0), bias=1.0, logit=logit)
    assert found.residual == pytest.approx(residual, rel=1e-6, abs=1e-12)
    assert found.complete is complete


def test_large_logits_are_judged_by_their_share() -> None:
    assert certificate(syx(2e4), bias=0.0, logit=2e4 + 1).complete
    assert not certificate(syx(0.5), bias=0.0, logit=0.5002).complete


def test_sums_are_taken_in_float64() -> None:
    many = np.full((100, 100, 100), 0.1, dtype=np.float32)
    assert certificate(many, 0.0, 1e5).sum == pytest.approx(1e6 * float(np.float32(0.1)), rel=1e-12)


def test_padding_weights_by_hand() -> None:
    """Two cells of 3 voxels along z, of which voxels 2..5 hold scan; three of 4 along y, 0..8; one of 10 along x."""
    cell = affines.scaling((3, 4, 10), (1, 1.5, 4.5))
    weights = padding_weights(cell, (2, 3, 1), ((1.5, 5.5), (-0.5, 8.5), (-0.5, 9.5)))
    # z: 1 of 3 and 3 of 3 voxels; y: 4, 4 and 1 of 4
    expected = 1 - np.array([1 / 3, 1.0])[:, None] * np.array([1.0, 1.0, 0.25])
    np.testing.assert_allclose(weights[:, :, 0], expected, atol=1e-12)


def test_padding_weights_where_no_voxel_is_padding_and_where_all_are() -> None:
    cell = affines.scaling((3, 70, 70), (1, 34.5, 34.5))
    assert not padding_weights(cell, (4, 6, 6), ((-0.5, 11.5), (-0.5, 419.5), (-0.5, 419.5))).any()
    beyond = padding_weights(cell, (4, 6, 6), ((8.5, 11.5), (-0.5, 419.5), (-0.5, 419.5)))
    assert (beyond[:3] == 1).all()
    assert not beyond[3].any()


@pytest.mark.parametrize(
    "placement", [affines.scaling((3, 7, 7), (1, 3, 3)), affines.scaling((3, 4, 4), (1, 8, 8))]
)
def test_padding_weights_count_voxels(placement: NDArray[np.float64]) -> None:
    """Against counting small steps through each cell's box, one axis after the other."""
    edges = ((1.5, 9.5), (4.5, 20.5), (-0.5, 29.5))
    found = padding_weights(placement, (4, 6, 6), edges)
    axes = []
    for axis, (count, (start, stop)) in enumerate(zip((4, 6, 6), edges, strict=True)):
        width, first = placement[axis, axis], placement[axis, 3]
        steps = (np.arange(4000) + 0.5) / 4000 - 0.5
        at = first + width * (np.arange(count)[:, None] + steps)
        axes.append(((at > start) & (at < stop)).mean(axis=1))
    expected = 1 - axes[0][:, None, None] * axes[1][:, None] * axes[2]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_padding_share_weighs_evidence_of_either_sign() -> None:
    weights = np.array([[[0.0, 0.5, 1.0]]])
    assert padding_share(syx(1.0, -2.0, 3.0), weights) == pytest.approx((0.5 * 2 + 3) / 6)
    assert padding_share(syx(0.0, 0.0, 0.0), weights) == 0.0
    assert padding_share(syx(-1.0, 0.0, 0.0), weights) == 0.0


def test_the_peak_is_the_largest_signed_value_and_lies_in_the_scan() -> None:
    cam = np.zeros((2, 3, 4), dtype=np.float32)
    cam[1, 2, 0], cam[0, 0, 0] = 2.5, -9.0
    affine = affine_of("IPL", (3.0, 50.0, 50.0), (100.0, 60.0, 20.0))
    scan = Grid((64, 64, 12), affine_of("LPS", (4.0, 4.0, 2.0), (126.0, 130.0, 0.0)))
    found = peak(cam, affine, scan)
    # cell (1, 2, 0): z = 20 - 3, y = 60 - 100, x = 100; i = (126 - 100) / 4 = 6.5 -> 6, j = 42.5 -> 42, k = 8.5 -> 8
    assert found == Peak(value=2.5, index_ijk=(6, 42, 8), world_mm=(100.0, -40.0, 17.0))


@pytest.mark.parametrize(("x", "expected"), [(0.4, (0, 0, 0)), (0.6, None), (-4.4, (4, 0, 0)), (-4.6, None)])
def test_a_peak_beyond_the_outer_voxels_has_no_index(x: float, expected: tuple[int, int, int] | None) -> None:
    affine = affine_of("IPL", origin_mm=(x, 0, 0))
    scan = Grid((5, 1, 1), affine_of("LPS"))
    found = peak(np.ones((1, 1, 1), dtype=np.float32), affine, scan)
    assert found.index_ijk == expected
    assert found.world_mm == (x, 0.0, 0.0)


def test_agreement_by_hand() -> None:
    affine = affine_of("IPL", (3.0, 4.0, 5.0))
    first, second = np.zeros((2, 2, 2), dtype=np.float32), np.zeros((2, 2, 2), dtype=np.float32)
    first[0, 0, 0], second[1, 1, 0] = 1.0, 1.0
    found = agreement(first, second, affine)
    # both have mean 1/8: covariance -1/64, variance 1/8 - 1/64 = 7/64
    assert found.correlation == pytest.approx(-1 / 7)
    assert found.peak_distance_mm == 5.0  # 3 mm down and 4 mm back


def test_agreement_equals_numpys_correlation_and_ignores_scale() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(4, 6, 6)).astype(np.float32)
    second = (0.5 * first + rng.normal(size=first.shape)).astype(np.float32)
    found = agreement(first, second, np.eye(4))
    assert found.correlation == pytest.approx(np.corrcoef(first.ravel(), second.ravel())[0, 1], abs=1e-9)
    assert agreement(first, first * 2 + 3, np.eye(4)).correlation == pytest.approx(1.0, abs=1e-6)
    assert agreement(first, -first, np.eye(4)).correlation == pytest.approx(-1.0, abs=1e-6)


def test_agreement_with_a_constant_map_is_unknown() -> None:
    assert agreement(syx(1.0, 2.0), syx(3.0, 3.0), np.eye(4)).correlation is None
