"""Slices of a DICOM series that are tilted, off the line, or oriented differently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.geometry import affine as affines
from tests.io.dicom_case import assert_volume, codes, read, refused
from tests.io.dicom_factory import AXIAL, chest, expected_affine_ras, make_series, normal
from tests.io.dicom_geometry_world import at, positions, ramp


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_tilt_in_either_direction_keeps_every_voxel(tmp_path: Path, axis: int, sign: int) -> None:
    hu = chest()
    step = np.array([0.8, 0.7, 0.0]) * np.eye(3)[axis] * sign + np.array([0, 0, 2.5])
    make_series(tmp_path, hu, positions_lps=[at(*(k * step)) for k in range(12)])
    volume = read(tmp_path)
    assert volume.array_ijk.shape[axis] == hu.shape[axis] + 11
    for k in (0, 5, 11):
        index = np.linalg.inv(volume.affine_ras) @ [*(at(*(k * step)) * [-1, -1, 1]), 1]
        i, j, slice_k = np.rint(index[:3]).astype(int)
        assert slice_k == k
        np.testing.assert_allclose(volume.array_ijk[i : i + 24, j : j + 20, k], hu[:, :, k], atol=1e-3)


def test_drift_of_a_hundredth_of_a_pixel_is_no_tilt(tmp_path: Path) -> None:
    make_series(tmp_path, positions_lps=[at(0.0, 0.0006 * k, 2.5 * k) for k in range(12)])
    volume = read(tmp_path)
    assert_volume(volume, chest(), expected_affine_ras())
    assert codes(volume) == []


def test_tilted_and_uneven_at_once(tmp_path: Path) -> None:
    distances = np.cumsum([0, 2.0, 3.0] + [2.0, 3.0] * 4 + [2.0])
    lps = [at(0.0, 0.2 * d, d) for d in distances]
    make_series(tmp_path, ramp(distances), positions_lps=lps)
    volume = read(tmp_path)
    assert codes(volume) == ["uneven-slices", "gantry-tilt"]
    assert affines.shear_cosine(volume.affine_ras) < 1e-9


def test_slices_off_the_line_are_refused(tmp_path: Path) -> None:
    lps = positions(2.5 * np.arange(12.0))
    lps[6] = lps[6] + [8.0, 0.0, 0.0]
    make_series(tmp_path, positions_lps=lps)
    assert refused(tmp_path).code == "dicom-stray-slices"


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"ImagePositionPatient": None}, "dicom-no-position"),
        ({"ImageOrientationPatient": None}, "dicom-no-position"),
        ({"PixelSpacing": None}, "dicom-spacing"),
        ({"PixelSpacing": [0, 0.7]}, "dicom-spacing"),
        ({"PixelSpacing": [-0.7, 0.7]}, "dicom-spacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "dicom-orientation"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "dicom-orientation"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 2, 0]}, "dicom-orientation"),
        ({"ImagePositionPatient": lambda k: [0, 0, 1e9 + k]}, "dicom-no-position"),
    ],
)
def test_geometry_that_is_missing_or_senseless_is_refused(tmp_path: Path, tags: dict, code: str) -> None:
    make_series(tmp_path, **tags)
    assert refused(tmp_path).code == code


def test_one_slice_without_position_refuses_the_series(tmp_path: Path) -> None:
    make_series(tmp_path, ImagePositionPatient=lambda k: None if k == 4 else [0, 0, 2.5 * k])
    error = refused(tmp_path)
    assert error.code == "dicom-no-position"
    assert "1 of 12" in error.message


def test_orientation_rounded_differently_from_slice_to_slice_is_one_volume(tmp_path: Path) -> None:
    wobble = [[1, 0, 0, 0, 1, 0], [0.99999, 0.0001, 0, 0, 1, 0]]
    make_series(tmp_path, ImageOrientationPatient=lambda k: wobble[k % 2])
    volume = read(tmp_path)
    assert volume.array_ijk.shape == (24, 20, 12)
    assert normal(AXIAL) @ [0, 0, 1] == 1


def test_more_voxels_than_allowed_are_refused_before_they_are_read(tmp_path: Path) -> None:
    make_series(tmp_path)
    error = refused(tmp_path, max_voxels=24 * 20 * 12 - 1)
    assert error.code == "too-many-voxels"
    assert "5760" in error.message
    read(tmp_path, max_voxels=24 * 20 * 12)
