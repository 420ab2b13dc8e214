"""Where the slices of a DICOM series lie: order, orientation, jitter, gaps, uneven spacing."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hirescam_cli.geometry import affine as affines
from tests.io.dicom_case import assert_volume, codes, read, refused
from tests.io.dicom_factory import chest, expected_affine_ras, make_series
from tests.io.dicom_geometry_world import ORIGIN, at, positions, ramp


def test_slices_are_ordered_by_position_whatever_their_names_and_numbers(tmp_path: Path) -> None:
    make_series(tmp_path, chest())
    volume = read(tmp_path)
    assert_volume(volume, chest(), expected_affine_ras())
    assert volume.orientation == "LPS"
    assert tuple(map(str, volume.provenance.warnings)) == ()


def test_numbers_and_names_against_the_positions_change_nothing(tmp_path: Path) -> None:
    make_series(
        tmp_path, chest(), shuffle=False, InstanceNumber=lambda k: 100 - k, SliceLocation=lambda k: -k
    )
    volume = read(tmp_path)
    assert_volume(volume, chest(), expected_affine_ras())
    assert volume.provenance.slice_numbers == tuple(100 - k for k in range(chest().shape[2]))


def test_slices_that_are_not_the_scanners_have_no_number(tmp_path: Path) -> None:
    make_series(tmp_path, chest(), skip=(4,))
    volume = read(tmp_path, allow_gaps=True)
    assert volume.array_ijk.shape == chest().shape
    assert volume.provenance.slice_numbers == ()


AXES = np.eye(3)


ORIENTATIONS = [
    (*(sign_u * AXES[u]), *(sign_v * AXES[v]))
    for u, v in itertools.permutations(range(3), 2)
    for sign_u, sign_v in itertools.product((1, -1), repeat=2)
]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_of_the_planes(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    make_series(tmp_path, chest(), orientation=orientation)
    volume = read(tmp_path)
    assert_volume(volume, chest(), expected_affine_ras(orientation=orientation))
    assert np.linalg.det(volume.affine_ras[:3, :3]) > 0


def test_an_oblique_series_keeps_its_obliquity(tmp_path: Path) -> None:
    turn = np.radians(20)
    orientation = (np.cos(turn), np.sin(turn), 0.0, -np.sin(turn), np.cos(turn), 0.0)
    make_series(tmp_path, chest(), orientation=orientation)
    volume = read(tmp_path)
    assert_volume(volume, chest(), expected_affine_ras(orientation=orientation))
    assert affines.obliquity_degrees(volume.affine_ras) == pytest.approx(20, abs=1e-6)


def test_a_voxel_lies_where_its_slice_says(tmp_path: Path) -> None:
    make_series(tmp_path, chest())
    world = affines.apply(read(tmp_path).affine_ras, [3, 5, 7])
    np.testing.assert_allclose(world, [100 - 3 * 0.8, 120 - 5 * 0.7, -300 + 7 * 2.5])


@pytest.mark.parametrize(
    ("spacing", "shift", "even"),
    [
        (2.5, 0.09, True),
        (2.5, 0.15, False),
        (5.0, 0.09, True),
        (5.0, 0.12, False),
        (20.0, 0.19, True),
        (20.0, 0.23, False),
    ],
)
def test_jitter_below_one_percent_or_a_tenth_of_a_millimetre_is_even(
    tmp_path: Path, spacing: float, shift: float, even: bool
) -> None:
    distances = spacing * np.arange(12.0)
    distances[5] += shift
    make_series(tmp_path, chest(), (0.8, 0.7, spacing), positions_lps=positions(distances))
    volume = read(tmp_path)
    assert codes(volume) == ([] if even else ["uneven-slices"])
    assert volume.spacing_mm[2] == pytest.approx(spacing)
    if even:
        assert_volume(volume, chest(), expected_affine_ras((0.8, 0.7, spacing)))


@pytest.mark.parametrize("spacing", [0.05, 0.1, 0.2, 0.25, 0.3, 0.5])
@pytest.mark.parametrize("missing", [1, 30, 58])
def test_a_missing_slice_is_noticed_however_thin_they_are(
    tmp_path: Path, spacing: float, missing: int
) -> None:
    hu = chest((8, 8, 60))
    make_series(tmp_path / "whole", hu, (0.3, 0.3, spacing))
    assert_volume(read(tmp_path / "whole"), hu, expected_affine_ras((0.3, 0.3, spacing)))
    make_series(tmp_path / "gap", hu, (0.3, 0.3, spacing), skip=[missing])
    error = refused(tmp_path / "gap")
    assert error.code == "dicom-gaps"
    assert f"{2 * spacing:.2f} mm between slices {missing} and {missing + 1} of 59" in error.message


@pytest.mark.parametrize(("spacing", "decimals"), [(0.3, 1), (0.25, 1), (0.1, 2), (0.0625, 2), (0.625, 1)])
def test_thin_slices_whose_positions_are_rounded_are_even(
    tmp_path: Path, spacing: float, decimals: int
) -> None:
    hu = chest((8, 8, 60))
    distances = np.round(spacing * np.arange(60.0), decimals)
    make_series(tmp_path, hu, (0.3, 0.3, spacing), positions_lps=positions(distances))
    volume = read(tmp_path)
    assert codes(volume) == []
    np.testing.assert_array_equal(volume.array_ijk, hu)


def test_a_slow_drift_of_the_spacing_is_not_even(tmp_path: Path) -> None:
    distances = np.concatenate([np.arange(6) * 2.5, 12.5 + np.arange(1, 7) * 2.58])
    make_series(tmp_path, chest(), positions_lps=positions(distances))
    assert codes(read(tmp_path)) == ["uneven-slices"]


def test_uneven_slices_are_resampled_to_an_even_grid(tmp_path: Path) -> None:
    distances = np.cumsum([0, 2.0, 3.0, 2.0, 3.0, 2.0, 3.0, 2.0, 3.0, 2.0, 3.0, 2.0])
    make_series(tmp_path, ramp(distances), positions_lps=positions(distances))
    volume = read(tmp_path)
    (warning,) = map(str, volume.provenance.warnings)
    assert warning.startswith("uneven-slices: ")
    assert "from 2.00 to 3.00 mm" in warning
    k = np.arange(volume.array_ijk.shape[2])
    step = volume.spacing_mm[2]
    assert step * k[-1] == pytest.approx(distances[-1])
    np.testing.assert_allclose(volume.array_ijk[4, 3], -900 + 10 * step * k + 12 + 6, atol=1e-3)
    assert volume.array_ijk.dtype == np.float32


@pytest.mark.parametrize("missing", [[4], [4, 5], [2, 7], [2, 5, 8]])
def test_missing_slices_are_refused(tmp_path: Path, missing: list[int]) -> None:
    make_series(tmp_path, chest((24, 20, 14)), skip=missing)
    error = refused(tmp_path)
    assert error.code == "dicom-gaps"
    width = 7.5 if missing == [4, 5] else 5.0
    first = missing[0]
    assert f"{width:.2f} mm between slices {first} and {first + 1} of {14 - len(missing)}" in error.message
    more = {(2, 7): "(and 1 more gap)", (2, 5, 8): "(and 2 more gaps)"}.get(tuple(missing))
    assert error.message.endswith(f"{more}." if more else "2.50 mm.")
    assert "--allow-gaps" in str(error.hint)


def test_allowed_gaps_are_interpolated_and_the_rest_is_exact(tmp_path: Path) -> None:
    hu = chest((24, 20, 14))
    make_series(tmp_path, hu, skip=[4, 5])
    volume = read(tmp_path, allow_gaps=True)
    expected = hu.astype(np.float32)
    expected[:, :, 4] = (2 * expected[:, :, 3] + expected[:, :, 6]) / 3
    expected[:, :, 5] = (expected[:, :, 3] + 2 * expected[:, :, 6]) / 3
    np.testing.assert_allclose(volume.array_ijk, expected, atol=1e-3)
    kept = [k for k in range(14) if k not in (4, 5)]
    np.testing.assert_array_equal(volume.array_ijk[:, :, kept], hu[:, :, kept])
    np.testing.assert_allclose(volume.affine_ras, expected_affine_ras(), atol=1e-6)
    (warning,) = map(str, volume.provenance.warnings)
    assert warning.startswith("interpolated-gaps: ")
    assert "7.5 to 15.0 mm above the lowest slice" in warning


def test_slices_beside_a_gap_stay_exact_in_spite_of_jitter(tmp_path: Path) -> None:
    hu = chest((24, 20, 14))
    distances = 2.5 * np.arange(14.0) + 0.04 * (-1.0) ** np.arange(14)
    make_series(tmp_path, hu, positions_lps=positions(distances), skip=[6])
    volume = read(tmp_path, allow_gaps=True)
    assert codes(volume) == ["interpolated-gaps"]
    kept = [k for k in range(14) if k != 6]
    np.testing.assert_array_equal(volume.array_ijk[:, :, kept], hu[:, :, kept])


def test_a_wide_gap_that_is_no_multiple_is_a_gap_too(tmp_path: Path) -> None:
    distances = 2.5 * np.arange(12.0)
    distances[6:] += 6.1
    make_series(tmp_path, chest(), positions_lps=positions(distances))
    assert refused(tmp_path).code == "dicom-gaps"


TILT_DEGREES = 14.0


def tilted(
    folder: Path, hu: np.ndarray, degrees: float = TILT_DEGREES, step: float = 2.5
) -> tuple[float, ...]:
    """A series of slices tilted about the patient's left-right axis, stacked along the table (z)."""
    angle = np.radians(degrees)
    orientation = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle)))
    make_series(
        folder,
        hu,
        (0.8, 0.7, step),
        orientation=orientation,
        positions_lps=positions(step * np.arange(hu.shape[2])),
    )
    return orientation


def linear_field(points_ras: np.ndarray) -> np.ndarray:
    """HU that depend linearly on the place, so that linear resampling must give them back exactly."""
    return 200.0 + points_ras @ np.array([1.5, -2.0, 3.0])


def test_gantry_tilt_becomes_an_orthogonal_grid(tmp_path: Path) -> None:
    angle = np.radians(TILT_DEGREES)
    row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), -np.sin(angle)])
    i, j, k = np.meshgrid(np.arange(24), np.arange(20), np.arange(12), indexing="ij")
    lps = ORIGIN + i[..., None] * 0.8 * row + j[..., None] * 0.7 * column + k[..., None] * 2.5 * np.eye(3)[2]
    hu = np.rint(linear_field(lps * [-1, -1, 1])).astype(np.int16)
    tilted(tmp_path, hu)
    volume = read(tmp_path)
    (warning,) = map(str, volume.provenance.warnings)
    assert warning.startswith("gantry-tilt: slices tilted by 14.0 degrees")
    assert affines.shear_cosine(volume.affine_ras) < 1e-9
    assert volume.spacing_mm == pytest.approx((0.8, 0.7, 2.5 * np.cos(angle)))
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in volume.array_ijk.shape), indexing="ij"), axis=-1)
    expected = linear_field(affines.apply(volume.affine_ras, indices))
    inside = volume.array_ijk > -1024
    assert np.abs(volume.array_ijk - expected)[inside_margin(inside)].max() < 1.0
    drift_rows = 11 * 2.5 * np.sin(angle) / 0.7
    assert volume.array_ijk.shape == (24, 20 + int(np.ceil(drift_rows)), 12)
    assert (~inside).sum() >= 24 * 12 * int(drift_rows)


def inside_margin(inside: np.ndarray) -> np.ndarray:
    """Voxels whose neighbours along j are inside too: at the edge, air is part of the interpolation."""
    margin = inside.copy()
    margin[:, 1:] &= inside[:, :-1]
    margin[:, :-1] &= inside[:, 1:]
    margin[:, [0, -1]] = False
    return margin


def test_a_shift_of_whole_pixels_moves_voxels_exactly(tmp_path: Path) -> None:
    hu = chest()
    lps = [at(0.0, 0.7 * k, 2.5 * k) for k in range(12)]
    make_series(tmp_path, hu, positions_lps=lps)
    volume = read(tmp_path)
    expected = np.full((24, 31, 12), -1024.0, dtype=np.float32)
    for k in range(12):
        expected[:, k : k + 20, k] = hu[:, :, k]
    np.testing.assert_allclose(volume.array_ijk, expected, atol=1e-3)
    np.testing.assert_allclose(volume.affine_ras, expected_affine_ras(), atol=1e-6)


@pytest.mark.parametrize(
    ("tags", "thickness"),
    [
        ({}, 2.5),
        ({"SliceThickness": "5"}, 5.0),
        ({"SliceThickness": "5", "SpacingBetweenSlices": "2.5"}, 5.0),
        ({"SliceThickness": None, "SpacingBetweenSlices": "2.5"}, None),
        ({"SliceThickness": "0"}, None),
        ({"SliceThickness": lambda k: "1" if k == 3 else "5"}, None),
    ],
)
def test_slices_keep_the_thickness_they_declare_beside_their_distance(
    tmp_path: Path, tags: dict[str, Any], thickness: float | None
) -> None:
    make_series(tmp_path, **tags)
    volume = read(tmp_path)
    assert volume.slice_thickness_mm == thickness
    assert volume.spacing_mm == pytest.approx((0.8, 0.7, 2.5))
