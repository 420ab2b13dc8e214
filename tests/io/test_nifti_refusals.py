"""NIfTI: sizes, offsets and lengths; each header that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hirescam_cli.errors import ScanError
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from tests.io.loading import codes, load, refused
from tests.io.nifti_factory import (
    chest_hu,
    make_nifti,
    nifti_bytes,
)


@pytest.mark.parametrize("extra", [(1,), (1, 1)])
def test_one_volume_of_a_series_is_squeezed(tmp_path: Path, extra: tuple[int, ...]) -> None:
    array = chest_hu().reshape(12, 11, 10, *extra)
    assert np.array_equal(load(make_nifti(tmp_path / "a.nii", array)).array_ijk, chest_hu())


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ((4, 4, 4, 2), "several-volumes"),
        ((4, 4, 4, 1, 3), "several-volumes"),
        ((8, 8), "not-3d"),
        ((8, 8, 1), "not-3d"),
    ],
)
def test_other_dimensions_are_refused(tmp_path: Path, shape: tuple[int, ...], code: str) -> None:
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    assert refused(make_nifti(tmp_path / "a.nii", array)).code == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"datatype": 128, "bitpix": 24}, "voxel-type"),
        ({"datatype": 2304, "bitpix": 32}, "voxel-type"),
        ({"datatype": 32, "bitpix": 64}, "voxel-type"),
        ({"datatype": 1792, "bitpix": 128}, "voxel-type"),
        ({"datatype": 1536, "bitpix": 128}, "voxel-type"),
        ({"datatype": 1, "bitpix": 1}, "voxel-type"),
        ({"datatype": 77}, "nifti-header"),
        ({"bitpix": 8}, "nifti-header"),
        ({"dim": [0, 12, 11, 10, 1, 1, 1, 1]}, "nifti-header"),
        ({"dim": [9, 12, 11, 10, 1, 1, 1, 1]}, "nifti-header"),
        ({"dim": [3, 12, -11, 10, 1, 1, 1, 1]}, "nifti-header"),
        ({"vox_offset": 100}, "nifti-header"),
        ({"vox_offset": 352.5}, "nifti-header"),
        ({"vox_offset": np.nan}, "nifti-header"),
        ({"xyzt_units": 5}, "nifti-header"),
        ({"sform_code": 77}, "nifti-header"),
        ({"qform_code": -1}, "nifti-header"),
        ({"magic": b"n+9"}, "nifti-header"),
        ({"srow_x": [0, 0, 0, 0]}, "bad-affine"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "bad-affine"),
        ({"srow_x": [-0.0001, 0, 0, 0]}, "bad-affine"),
        ({"srow_x": [-750.0, 0, 0, 0]}, "bad-affine"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 2.0}, "bad-affine"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, "bad-affine"),
        ({"sform_code": 0, "qform_code": 1, "pixdim": [1, -1, 1, 1, 1, 1, 1, 1]}, "bad-affine"),
        ({"sform_code": 0, "qform_code": 1, "pixdim": [5, 1, 1, 1, 1, 1, 1, 1]}, "bad-affine"),
    ],
)
def test_headers_that_say_the_impossible(tmp_path: Path, fields: dict[str, Any], code: str) -> None:
    assert refused(make_nifti(tmp_path / "a.nii", **fields)).code == code


def test_extensions_are_skipped(tmp_path: Path) -> None:
    extension = (32).to_bytes(4, "little") + (6).to_bytes(4, "little") + b"PATIENT NAME".ljust(24, b"\0")
    volume = load(make_nifti(tmp_path / "a.nii.gz", extension=extension))
    assert np.array_equal(volume.array_ijk, chest_hu())
    assert "PATIENT" not in repr(volume.provenance)


def test_voxels_far_behind_the_header(tmp_path: Path) -> None:
    data = nifti_bytes(chest_hu(), vox_offset=5008)
    path = tmp_path / "a.nii"
    path.write_bytes(data[:352] + bytes(5008 - 352) + data[352:])
    assert np.array_equal(load(path).array_ijk, chest_hu())


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_bytes_after_the_voxels_are_warned_about(tmp_path: Path, name: str) -> None:
    volume = load(make_nifti(tmp_path / name, trailing=b"x" * 77))
    assert codes(volume) == ["trailing-bytes"]
    assert "77 bytes" in str(volume.provenance.warnings[0])
    assert np.array_equal(volume.array_ijk, chest_hu())


@pytest.mark.parametrize("keep", [0, 3, 100, 347, 352, 400, 2000, 2991])
def test_short_files_are_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(chest_hu())[:keep])
    assert refused(path).code == "nifti-damaged"


def test_image_file_of_a_pair_too_short(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.hdr")
    image = path.with_suffix(".img")
    image.write_bytes(image.read_bytes()[:-1])
    assert refused(path).code == "nifti-damaged"


def test_header_without_its_image(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.hdr")
    path.with_suffix(".img").unlink()
    assert refused(path).code == "nifti-pair"


@pytest.mark.parametrize("version", [1, 2])
def test_promises_beyond_the_file_are_refused_before_memory_is_taken(tmp_path: Path, version: int) -> None:
    huge = [3, 30_000, 30_000, 30_000, 1, 1, 1, 1]
    path = make_nifti(tmp_path / "a.nii.gz", version=version, dim=huge)
    assert refused(path).code == "too-many-voxels"
    assert refused(path, max_voxels=1 << 60).code == "nifti-damaged"


def test_max_voxels(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.nii.gz")
    assert load(path, max_voxels=12 * 11 * 10).array_ijk.size == 1320
    error = refused(path, max_voxels=12 * 11 * 10 - 1)
    assert error.code == "too-many-voxels"
    assert "--max-voxels" in (error.hint or "")


def test_unreadable_file(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.nii")
    (scan,) = discover([InputPath(path)], ReadOptions()).scans
    path.unlink()
    with pytest.raises(ScanError) as caught:
        read(scan, ReadOptions())
    assert caught.value.code == "unreadable-file"
    assert str(tmp_path) not in str(caught.value)
