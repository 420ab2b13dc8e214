"""NIfTI: values and affines against hand-made files and nibabel; each correction."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.io.loading import codes, load, refused
from tests.io.nifti_factory import (
    METRE,
    MICRON,
    affine,
    chest_hu,
    make_nifti,
    qform_fields,
    rotation,
)


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_every_type_byte_order_and_version(tmp_path: Path, kind: str, endian: str, version: int) -> None:
    signed = kind not in ("u1", "u2", "u4", "u8")
    low, high = (-100, 120) if kind == "i1" else (-1000, 3000) if signed else (0, 250)
    array = np.random.default_rng(1).integers(low, high, size=(5, 4, 3)).astype(kind)
    path = make_nifti(tmp_path / "a.nii.gz", array, version=version, endian=endian)
    volume = load(path)
    assert np.array_equal(volume.array_ijk, array.astype(np.int64))
    assert volume.array_ijk.dtype == np.int16
    assert volume.array_ijk.dtype.isnative
    assert np.array_equal(volume.affine_ras, affine())
    assert np.array_equal(volume.affine_ras, nib.load(path).affine)
    assert volume.provenance.kind == "nifti"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr"])
def test_the_same_volume_from_each_kind_of_file(tmp_path: Path, name: str) -> None:
    path = make_nifti(tmp_path / name)
    volume = load(path)
    assert np.array_equal(volume.array_ijk, chest_hu())
    assert volume.orientation == "LPS"
    assert volume.spacing_mm == (0.75, 0.5, 2.5)
    assert codes(volume) == []
    if name == "a.hdr":
        parts = sorted(hashlib.sha256(path.with_suffix(s).read_bytes()).hexdigest() for s in (".hdr", ".img"))
        expected = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    else:
        expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert volume.provenance.fingerprint == expected


def test_an_img_given_by_itself_finds_its_header(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.hdr")
    assert np.array_equal(load(path.with_suffix(".img")).array_ijk, chest_hu())


def test_compressed_pair(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.hdr")
    for suffix in (".hdr", ".img"):
        plain = path.with_suffix(suffix)
        (tmp_path / f"a{suffix}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    assert np.array_equal(load(tmp_path / "a.hdr.gz").array_ijk, chest_hu())


def test_slope_and_intercept(tmp_path: Path) -> None:
    stored = np.arange(4 * 4 * 4, dtype=np.uint16).reshape(4, 4, 4)
    whole = load(make_nifti(tmp_path / "whole.nii", stored, scl_slope=2.0, scl_inter=-1024.0))
    assert whole.array_ijk.dtype == np.int16
    assert np.array_equal(whole.array_ijk, stored.astype(int) * 2 - 1024)
    broken = load(make_nifti(tmp_path / "broken.nii", stored, scl_slope=0.3, scl_inter=-1000.25))
    assert broken.array_ijk.dtype == np.float32
    slope = float(np.float32(0.3))
    assert np.allclose(broken.array_ijk, stored * slope - 1000.25, rtol=0, atol=1e-4)


def test_slope_zero_means_no_scale(tmp_path: Path) -> None:
    volume = load(make_nifti(tmp_path / "a.nii", scl_slope=0.0, scl_inter=float("nan")))
    assert np.array_equal(volume.array_ijk, chest_hu())


@pytest.mark.parametrize(("slope", "inter"), [(np.nan, 0), (np.inf, 0), (1, np.nan), (2, -np.inf)])
def test_scales_that_are_not_finite_are_refused(tmp_path: Path, slope: float, inter: float) -> None:
    assert refused(make_nifti(tmp_path / "a.nii", scl_slope=slope, scl_inter=inter)).code == "nifti-scaling"


@pytest.mark.parametrize(("units", "factor"), [(METRE, 1000.0), (MICRON, 0.001)])
def test_units_are_taken_to_mm(tmp_path: Path, units: int, factor: float) -> None:
    stored = affine()
    stored[:3] /= factor
    volume = load(make_nifti(tmp_path / "a.nii", None, stored, units=units))
    assert np.allclose(volume.affine_ras, affine(), rtol=1e-6)
    assert codes(volume) == ["units-converted"]


def test_unknown_unit_is_mm_with_a_warning(tmp_path: Path) -> None:
    volume = load(make_nifti(tmp_path / "a.nii", units=0))
    assert np.array_equal(volume.affine_ras, affine())
    assert codes(volume) == ["units-unknown"]


def test_time_units_do_not_matter(tmp_path: Path) -> None:
    assert codes(load(make_nifti(tmp_path / "a.nii", units=2 | 8))) == []


def test_sform_alone_and_qform_alone(tmp_path: Path) -> None:
    other = affine(origin=(500.0, 0.0, 0.0))
    s_only = make_nifti(tmp_path / "s.nii", None, affine(), sform_code=2, qform_code=0, qform=other)
    assert np.array_equal(load(s_only).affine_ras, affine())
    oblique = rotation(12.0) @ affine()
    q_only = make_nifti(tmp_path / "q.nii", None, other, sform_code=0, qform_code=1, qform=oblique)
    volume = load(q_only)
    assert np.allclose(volume.affine_ras, oblique, atol=1e-5)
    assert np.array_equal(volume.affine_ras, nib.load(q_only).affine)


def test_qfac_zero_counts_as_one(tmp_path: Path) -> None:
    matrix = affine(axes=(1, 2, 3))
    fields = qform_fields(matrix)
    fields["pixdim"] = [0.0, *fields["pixdim"][1:]]
    path = make_nifti(tmp_path / "q.nii", None, matrix, sform_code=0, qform_code=1, **fields)
    assert np.allclose(load(path).affine_ras, matrix, atol=1e-6)


@pytest.mark.parametrize(("shift_voxels", "accepted"), [(0.08, True), (0.12, False)])
def test_transforms_may_differ_by_a_tenth_of_a_voxel(
    tmp_path: Path, shift_voxels: float, accepted: bool
) -> None:
    moved = affine()
    moved[2, 3] += shift_voxels * 2.5
    path = make_nifti(tmp_path / "a.nii", None, affine(), qform_code=1, qform=moved)
    if accepted:
        volume = load(path)
        assert np.array_equal(volume.affine_ras, affine())
        assert codes(volume) == []
        return
    error = refused(path)
    assert error.code == "transforms-disagree"
    assert "0.12" in error.message
    for prefer, expected in (("sform", affine()), ("qform", moved)):
        volume = load(path, prefer=prefer)
        assert np.allclose(volume.affine_ras, expected, atol=1e-5)
        assert codes(volume) == ["transforms-disagree"]


def test_a_small_rotation_shows_at_the_corners(tmp_path: Path) -> None:
    turned = affine() @ np.eye(4)
    turned[:3, :3] = rotation(2.0, axis=2)[:3, :3] @ turned[:3, :3]
    array = chest_hu((40, 40, 4))
    assert refused(make_nifti(tmp_path / "a.nii", array, affine(), qform_code=1, qform=turned)).code == (
        "transforms-disagree"
    )


def test_no_code_at_all(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.nii", sform_code=0, qform_code=0)
    error = refused(path)
    assert error.code == "no-affine"
    assert "--assume-affine" in (error.hint or "")
    volume = load(path, assume_affine=True)
    assert np.array_equal(volume.affine_ras, np.diag([0.75, 0.5, 2.5, 1.0]))
    assert codes(volume) == ["affine-assumed"]


def test_analyze_only_when_told_to(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.hdr", sform_code=0, magic=b"", units=0)
    assert refused(path).code == "no-affine"
    volume = load(path, assume_affine=True)
    assert volume.provenance.kind == "analyze"
    assert np.array_equal(volume.array_ijk, chest_hu())


def test_shear_is_read_with_a_warning(tmp_path: Path) -> None:
    sheared = affine()
    sheared[1, 2] = 0.2
    volume = load(make_nifti(tmp_path / "a.nii", None, sheared))
    assert np.allclose(volume.affine_ras, sheared, atol=1e-7)
    assert codes(volume) == ["sheared"]
    assert f"{np.degrees(np.arctan(0.2 / 2.5)):.1f} degrees" in str(volume.provenance.warnings[0])


def test_non_finite_voxels_become_air_and_are_counted(tmp_path: Path) -> None:
    array = chest_hu().astype(np.float32)
    array[3, 4, 5], array[3, 4, 6], array[3, 4, 7] = np.nan, np.inf, -np.inf
    volume = load(make_nifti(tmp_path / "a.nii.gz", array))
    assert codes(volume) == ["nonfinite-voxels"]
    assert "3 voxels" in str(volume.provenance.warnings[0])
    expected = chest_hu()
    expected[3, 4, 5:8] = -1024
    assert volume.array_ijk.dtype == np.int16
    assert np.array_equal(volume.array_ijk, expected)


def test_float64_beyond_float32_is_not_finite(tmp_path: Path) -> None:
    array = chest_hu().astype(np.float64)
    array[0, 0, 0] = 1e300
    volume = load(make_nifti(tmp_path / "a.nii", array))
    assert codes(volume) == ["nonfinite-voxels"]
    assert volume.array_ijk[0, 0, 0] == -1024


def test_fractions_stay(tmp_path: Path) -> None:
    array = chest_hu().astype(np.float32) + np.float32(0.25)
    volume = load(make_nifti(tmp_path / "a.nii", array))
    assert volume.array_ijk.dtype == np.float32
    assert np.array_equal(volume.array_ijk, array)


def test_values_beyond_int16_are_kept_and_warned_about(tmp_path: Path) -> None:
    array = chest_hu().astype(np.int32)
    array[0, 0, 0] = 70_000
    volume = load(make_nifti(tmp_path / "a.nii", array))
    assert volume.array_ijk[0, 0, 0] == 70_000
    assert codes(volume) == ["values-not-hu"]


def test_values_without_air_are_warned_about(tmp_path: Path) -> None:
    array = np.abs(chest_hu())
    assert codes(load(make_nifti(tmp_path / "a.nii", array))) == ["values-not-hu"]


@pytest.mark.parametrize("value", [0, -1000])
def test_constant_volumes_are_refused(tmp_path: Path, value: int) -> None:
    path = make_nifti(tmp_path / "a.nii", np.full((4, 4, 4), value, dtype=np.int16))
    assert refused(path).code == "constant"


def test_all_nan_is_constant(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.nii", np.full((4, 4, 4), np.nan, dtype=np.float32))
    assert refused(path).code == "constant"
