"""Preparation: the authors' reference values, SimpleITK and NumPy step by step, and the 48 orientations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.model.spec import load_spec
from hirescam_cli.prepare import ModelInput, coverage, prepare
from hirescam_cli.volume import Provenance, Volume
from tests.geometry.worlds import ORIENTATIONS, affine_of, reordered, rotated
from tests.models import axial

REFERENCE = Path(__file__).parents[1] / "reference" / "prepare.npz"
SMALL = axial(slices=24, side=30)
CLIP, SHAPE, SPACING = (-1000.0, 1000.0), (24, 30, 30), (0.8, 0.8, 0.8)


def volume_of(array: NDArray[Any], affine: Affine) -> Volume:
    return Volume(array, affine, Provenance("nifti", "0" * 64))


def content(prepared: ModelInput) -> tuple[tuple[int, int], ...]:
    """Per axis the index range [start, stop) that holds scan."""
    return tuple((round(low + 0.5), round(high + 0.5)) for low, high in prepared.edges)


def ct_like(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.int16]:
    """Random HU on a smooth ground, some beyond the clip, none of them flat."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-1100, 1300, size=shape) // 2 + rng.integers(-600, 500)).astype(np.int16)


@pytest.mark.parametrize("number", range(4))
def test_the_authors_reference_values(number: int) -> None:
    """At the network's own spacing: padding, cropping, triplets and scaling, to the last digit of float32."""
    with np.load(REFERENCE) as file:
        shape, at, values = (file[f"{number}/{key}"] for key in ("shape", "at", "values"))
        total, squares = float(file[f"{number}/sum"]), float(file[f"{number}/sumsq"])
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    hu = np.clip((7 * z + 13 * y + 17 * x) % 2501 - 1250, -1000, 1000).astype(np.int16)
    spec = load_spec("axialnet-83")
    prepared = prepare(volume_of(hu, affine_of("IPL", (0.8, 0.8, 0.8))), spec.preparation)
    assert prepared.array_ijk.shape == (402, 420, 420)
    # Of few distinct HU: sums in float64 from the counts, values through the engine's own scale.
    low, high = spec.preparation.window_hu
    scaled = (np.clip(np.arange(-1000, 1001), low, high) - low) / (high - low) - 0.449
    counts = np.bincount(prepared.array_ijk.ravel().astype(np.int64) + 1000, minlength=2001)
    assert (counts * scaled).sum() == pytest.approx(total, rel=1e-7, abs=5.0)
    assert (counts * scaled**2).sum() == pytest.approx(squares, rel=1e-7)
    groups = prepared.array_ijk.reshape(134, 3, 420, 420)
    found = scaled[groups[tuple(at.astype(np.int64).T)].astype(np.int64) + 1000]
    np.testing.assert_allclose(found, values, rtol=0, atol=1e-6)


def step_by_step(array_zyx: NDArray[Any], spacing: tuple[float, ...]) -> NDArray[np.int16]:
    """The published steps with SimpleITK and NumPy: resample, clip, round, pad with the minimum, crop."""
    image = sitk.GetImageFromArray(array_zyx.astype(np.float32))
    image.SetSpacing([float(s) for s in spacing[::-1]])
    new = SPACING
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkBSpline)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    resampler.SetSize([round(n * s / m) for n, s, m in zip(array_zyx.shape, spacing, new, strict=True)][::-1])
    resampler.SetOutputSpacing([float(m) for m in new[::-1]])
    hu = np.rint(np.clip(sitk.GetArrayFromImage(resampler.Execute(image)), *CLIP)).astype(np.int16)
    target = SHAPE
    missing = [max(0, t - n) for n, t in zip(hu.shape, target, strict=True)]
    hu = np.pad(hu, [(m // 2, m - m // 2) for m in missing], constant_values=hu.min())
    surplus = [n - t for n, t in zip(hu.shape, target, strict=True)]
    return hu[tuple(slice(s // 2, s // 2 + t) for s, t in zip(surplus, target, strict=True))]


@pytest.mark.parametrize("codes", ["LPS", "RAS", "IPL", "ASL", "SRP"])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((13, 25, 27), (1.6, 1.0, 1.0)),  # thick slices, padded along z, cropped in the plane
        ((40, 20, 21), (0.4, 0.9, 0.9)),  # thin slices
        ((31, 30, 33), (0.8, 0.8, 0.8)),  # nothing to resample
        ((16, 41, 18), (2.0, 0.5, 1.2)),
    ],
)
def test_the_whole_way_against_simpleitk_and_numpy(
    codes: str, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    array_ijk = ct_like(shape, seed=len(codes) + shape[0])
    stored, affine = reordered(array_ijk, affine_of("IPL", spacing, (3, 4, 5)), codes)
    found = prepare(volume_of(stored, affine), SMALL).array_ijk
    expected = step_by_step(array_ijk, spacing)
    # ITK answers 0 beyond half a voxel past the last centre, where the mirror goes on: these sizes stay within.
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3  # a value at x.5 may round either way


def test_past_the_last_centre_the_mirror_goes_on_where_simpleitk_answers_zero() -> None:
    """Size rounding may put the last slice up to half a new voxel past the scan; bone must not become water."""
    line = np.full((5, 30, 30), 700, dtype=np.int16)
    # 5 * 0.7 / 0.8 = 4.375 rounds to 4; 5 * 0.75 / 0.8 = 4.69 rounds to 5: its last centre is at 3.2 / 0.75 = 4.27
    found = prepare(volume_of(line, affine_of("IPL", (0.75, 0.8, 0.8))), axial(slices=6, side=30))
    assert content(found)[0] == (0, 5)
    assert (found.array_ijk == 700).all()


@pytest.fixture(scope="module")
def scan() -> tuple[NDArray[np.int16], Affine]:
    return ct_like((19, 33, 28), seed=7), affine_of("IPL", (1.7, 0.9, 0.8), (11, 22, 33))


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_all_48_orientations_give_the_same_input_in_the_same_place(
    scan: tuple[NDArray[np.int16], Affine], codes: str
) -> None:
    stored, affine = reordered(*scan, codes)
    assert affines.orientation(affine) == codes
    first, again = prepare(volume_of(*scan), SMALL), prepare(volume_of(stored, affine), SMALL)
    np.testing.assert_array_equal(again.array_ijk, first.array_ijk)
    np.testing.assert_allclose(again.affine_ras, first.affine_ras, atol=1e-9)
    assert (again.edges, again.coverage) == (first.edges, first.coverage)


def test_the_affine_says_where_each_voxel_lies() -> None:
    """A bright voxel is found again at its world position, through flips, resampling, padding and cropping."""
    hu = np.full((30, 26, 12), -800, dtype=np.int16)
    hu[17, 9, 8] = 900
    affine = affine_of("LPS", (0.8, 1.6, 2.4), (40, 50, -60))
    prepared = prepare(volume_of(hu, affine), SMALL)
    brightest = np.unravel_index(prepared.array_ijk.argmax(), prepared.array_ijk.shape)
    np.testing.assert_allclose(
        affines.apply(prepared.affine_ras, brightest), affines.apply(affine, (17, 9, 8)), atol=1e-9
    )
    assert prepared.array_ijk.max() == 900
    assert affines.orientation(prepared.affine_ras) == "IPL"
    assert affines.spacing_mm(prepared.affine_ras) == pytest.approx((0.8, 0.8, 0.8))


@pytest.mark.parametrize("degrees", [0.0, 3.0, 9.9])
def test_a_slightly_oblique_scan_is_taken_along_its_own_axes(
    scan: tuple[NDArray[np.int16], Affine], degrees: float
) -> None:
    hu, affine = scan
    straight = prepare(volume_of(hu, affine), SMALL)
    turned = prepare(volume_of(hu, rotated(affine, (1, 0, 0), degrees)), SMALL)
    np.testing.assert_array_equal(turned.array_ijk, straight.array_ijk)
    np.testing.assert_allclose(turned.affine_ras, rotated(straight.affine_ras, (1, 0, 0), degrees), atol=1e-9)
    assert turned.warnings == ()


def test_a_warning_says_by_how_much_a_scan_is_oblique(scan: tuple[NDArray[np.int16], Affine]) -> None:
    hu, affine = scan
    (warning,) = prepare(volume_of(hu, rotated(affine, (1, 0, 0), 12.34)), SMALL).warnings
    assert warning.code == "oblique"
    assert "12.3 degrees" in warning.text


def world_test(volume: Volume, prepared: ModelInput) -> tuple[float, float]:
    """Both fractions, by asking of every voxel centre whether it lies in the other grid's boxes."""
    scan, network = volume.array_ijk.shape, prepared.array_ijk.shape

    def inside(affine: Affine, shape: tuple[int, ...], other: Affine, extent: tuple[int, ...]) -> float:
        index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
        there = affines.apply(np.linalg.inv(other), affines.apply(affine, index))
        return float(((there >= -0.5 - 1e-5) & (there <= np.array(extent) - 0.5 + 1e-5)).all(axis=-1).mean())

    seen = inside(volume.affine_ras, scan, prepared.affine_ras, network)
    fine = [round(n * s / 0.8) for n, s in zip(scan, volume.spacing_mm, strict=True)]
    resampled = volume.affine_ras @ np.diag([0.8 / s for s in volume.spacing_mm] + [1.0])
    return seen, 1.0 - inside(prepared.affine_ras, network, resampled, tuple(fine))


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((13, 25, 27), (1.6, 1.0, 1.0)), ((60, 20, 50), (0.8, 0.8, 0.8)), ((7, 60, 61), (0.9, 0.7, 0.7))],
)
def test_coverage_against_every_voxels_world_position(
    shape: tuple[int, int, int], spacing: tuple[float, ...]
) -> None:
    volume = volume_of(ct_like(shape), affine_of("IPL", spacing))
    prepared = prepare(volume, SMALL)
    seen, padding = world_test(volume, prepared)
    assert prepared.coverage.scan_seen_fraction == pytest.approx(seen, abs=1e-12)
    assert prepared.coverage.padding_fraction == pytest.approx(padding, abs=1e-12)
    assert coverage(volume, SMALL) == prepared.coverage


def test_coverage_by_hand() -> None:
    """60 of 24 slices wanted, 20 of 30 rows there, 50 of 30 columns wanted."""
    prepared = prepare(volume_of(ct_like((60, 20, 50)), affine_of("IPL", (0.8, 0.8, 0.8))), SMALL)
    assert prepared.coverage.scan_seen_fraction == pytest.approx(24 / 60 * 30 / 50)
    assert prepared.coverage.padding_fraction == pytest.approx(1 / 3)
    assert content(prepared) == ((0, 24), (5, 25), (0, 30))


@pytest.mark.parametrize("spacing", [0.8, 0.95])
def test_padding_takes_the_minimum_of_what_is_cropped_away_too(spacing: float) -> None:
    hu = np.full((10, 40, 44), 55, dtype=np.int16)
    hu[5, 0, 0] = -321  # a corner that centring crops away
    prepared = prepare(volume_of(hu, affine_of("IPL", (0.8, spacing, spacing))), SMALL)
    (start, stop), *_ = content(prepared)
    assert (start, stop) == (7, 17)
    padding = np.concatenate([prepared.array_ijk[:start], prepared.array_ijk[stop:]])
    assert (padding == -321).all()
    assert prepared.array_ijk[start:stop].min() > -100


def test_padding_groups_are_those_without_any_slice_of_the_scan() -> None:
    hu = ct_like((10, 30, 30))
    prepared = prepare(volume_of(hu, affine_of("IPL", (0.8, 0.8, 0.8))), SMALL)
    assert content(prepared)[0] == (7, 17)  # groups are slices 0-2, 3-5, 6-8, ..., 15-17, 18-20, 21-23
    assert prepared.padding_groups(3).tolist() == [True, True, False, False, False, False, True, True]
    full = prepare(volume_of(ct_like((50, 30, 30)), affine_of("IPL", (0.8, 0.8, 0.8))), SMALL)
    assert not full.padding_groups(3).any()


def test_values_are_clipped_and_rounded_to_whole_hu() -> None:
    hu = np.full((24, 30, 30), 0.0, dtype=np.float32)
    hu[0, 0, :6] = [-3024.0, 2999.5, 12.4, 12.6, -12.6, -1000.4]
    prepared = prepare(volume_of(hu, affine_of("IPL", (0.8, 0.8, 0.8))), SMALL)
    assert prepared.array_ijk.dtype == np.int16
    assert prepared.array_ijk[0, 0, :6].tolist() == [-1000, 1000, 12, 13, -13, -1000]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint8])
def test_other_types_of_voxels_give_the_same_input(dtype: Any) -> None:
    hu = (ct_like((15, 22, 23)).astype(int) % 200).astype(np.int16)
    affine = affine_of("LPS", (1.1, 0.9, 2.0))
    expected = prepare(volume_of(hu, affine), SMALL).array_ijk
    np.testing.assert_array_equal(prepare(volume_of(hu.astype(dtype), affine), SMALL).array_ijk, expected)


def test_the_scan_itself_is_not_changed(scan: tuple[NDArray[np.int16], Affine]) -> None:
    for dtype in (np.int16, np.float32):
        hu = scan[0].astype(dtype)
        before = hu.copy()
        prepare(volume_of(hu, affine_of("IPL", (0.8, 0.8, 0.8))), axial(slices=18, side=28))
        prepare(volume_of(hu, scan[1]), SMALL)
        np.testing.assert_array_equal(hu, before)


def test_linear_interpolation_by_hand() -> None:
    ramp = np.broadcast_to(np.arange(10, dtype=np.int16)[:, None, None] * 100, (10, 30, 30))
    linear = axial(slices=21, side=30, interpolation="linear")
    prepared = prepare(volume_of(ramp, affine_of("IPL", (1.6, 0.8, 0.8))), linear)
    # 20 slices of 50 HU steps; past the last centre the last value holds; one slice of padding at the end
    assert prepared.array_ijk[:, 4, 5].tolist() == [*range(0, 901, 50), 900, 0]


def test_a_single_slice_and_a_single_column_are_prepared() -> None:
    for shape in ((1, 30, 30), (24, 30, 1), (1, 1, 1)):
        prepared = prepare(
            volume_of(np.full(shape, 42, dtype=np.int16), affine_of("IPL", (1.0, 1.0, 1.0))), SMALL
        )
        assert (prepared.array_ijk == 42).all()


@pytest.mark.parametrize("fault", [0.0, np.nan])
def test_a_singular_affine_is_an_error_of_the_scan(fault: float) -> None:
    affine = affine_of("LPS")
    affine[:3, 1] = fault
    with pytest.raises(ScanError) as caught:
        prepare(volume_of(ct_like((4, 5, 6)), affine), SMALL)
    assert (caught.value.code, caught.value.stage) == ("affine-singular", "prepare")
