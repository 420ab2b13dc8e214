"""Real DICOM in every encoding, tilted, and objects that are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io.dicom import find_series
from hirescam_cli.io.scan import ReadOptions
from tests.io.dicom_case import codes
from tests.io.dicom_real_world import Series, read_real

ENCODINGS = [
    "CT1_UNC.explicit_big_endian.dcm",
    "CT1_UNC.implicit_little_endian.dcm",
    "CT1_UNC.fragmented_bot_jpeg_ls.80.dcm",
    "CT1_UNC.fragmented_no_bot_jpeg_ls.80.dcm",
    "CT1_UNC.not_fragmented_bot_jpeg_ls.80.dcm",
    "CT1_UNC.not_fragmented_no_bot_jpeg_ls.80.dcm",
]


@pytest.mark.parametrize("name", ENCODINGS)
def test_one_slice_in_each_encapsulation(real_data: Path, name: str) -> None:
    volume = read_real(real_data, Series("ts_ct1_enhanced", name))
    reference = read_real(real_data, Series("ts_ct1_enhanced", "CT1_UNC.explicit_little_endian.dcm"))
    np.testing.assert_array_equal(volume.array_ijk, reference.array_ijk)


MULTI_FRAME = [
    ("CT0012.fragmented_no_bot_jpeg_lossless.57.dcm", 0),
    ("CT0012.fragmented_no_bot_jpeg_lossless.70.dcm", 0),
    ("CT0012.fragmented_no_bot_jpeg_ls.80.dcm", 0),
    ("CT0012.fragmented_no_bot_jpeg_ls.81.dcm", 2),
    ("CT0012.not_fragmented_bot_jpeg_ls.80.dcm", 0),
    ("CT0012.not_fragmented_bot_rle.dcm", 0),
    ("CT0012.not_fragmented_no_bot_jpeg_ls.80.dcm", 0),
    ("CT0012.not_fragmented_no_bot_rle.dcm", 0),
]


@pytest.mark.parametrize(("name", "tolerance"), MULTI_FRAME)
def test_two_frames_in_each_encapsulation(real_data: Path, name: str, tolerance: int) -> None:
    """Among them two files that SimpleITK cannot read at all (fragmented JPEG-LS without an offset table)."""
    volume = read_real(real_data, Series("ts_ct1_enhanced", name))
    reference = read_real(real_data, Series("ts_ct1_enhanced", "CT0012.explicit_little_endian.dcm"))
    assert volume.array_ijk.shape == (512, 512, 2)
    assert np.abs(volume.array_ijk.astype(int) - reference.array_ijk).max() <= tolerance
    np.testing.assert_array_equal(volume.affine_ras, reference.affine_ras)


def test_signed_pixels_marked_as_unsigned_are_read_as_the_codestream_says(real_data: Path) -> None:
    """SimpleITK is known to be wrong here: it gives up to 65535 HU for what is below 0."""
    marked = read_real(real_data, Series("odd_dicom", "TOSHIBA_J2K_SIZ1_PixRep0.dcm"))
    assert codes(marked)[0] == "pixel-sign"
    assert marked.array_ijk.min() == -1024
    assert marked.array_ijk.max() == 1717


def test_legacy_converted_and_supplemental_palette(real_data: Path) -> None:
    legacy = read_real(real_data, Series("odd_dicom", "legacy_converted_*.dcm"))
    assert legacy.provenance.kind == "dicom-enhanced"
    assert legacy.array_ijk.shape == (23, 38, 3)
    assert "values-not-hu" in codes(legacy)
    assert read_real(real_data, Series("odd_dicom", "eCT_Supplemental.dcm")).array_ijk.shape == (512, 512, 2)


def test_two_slices_with_almost_no_tags(real_data: Path) -> None:
    volume = read_real(real_data, Series("odd_dicom", "lungmask_chest_minimal_*.dcm"))
    assert volume.array_ijk.shape == (512, 512, 2)


REFUSED = [
    (Series("lego_phantom_10slices_dcm"), "dicom-gaps"),
    (Series("dicom2nifti_failing/sliceincrement/001"), "dicom-gaps"),
    (Series("dicom2nifti_failing/sliceincrement/002"), "dicom-gaps"),
]


@pytest.mark.parametrize(("series", "code"), REFUSED, ids=lambda v: getattr(v, "folder", v))
def test_missing_slices_are_refused(real_data: Path, series: Series, code: str) -> None:
    with pytest.raises(ScanError) as caught:
        read_real(real_data, series)
    assert caught.value.code == code


def test_tilted_slices_with_a_gap_when_gaps_are_allowed(real_data: Path) -> None:
    """dicom2nifti makes a grid of the same shape, but with the slice distance along the table."""
    volume = read_real(real_data, Series("dicom2nifti_failing/sliceincrement/002"), allow_gaps=True)
    folder = real_data / "dicom2nifti_failing" / "sliceincrement"
    image: Any = nib.load(folder / "002_ground_truth.nii.gz")
    assert volume.array_ijk.shape == image.shape == (512, 514, 5)
    table_mm = float(np.linalg.norm(image.affine[:3, 2]))
    assert volume.spacing_mm[2] == pytest.approx(table_mm * np.cos(np.radians(15.5)), abs=1e-3)
    assert codes(volume) == ["interpolated-gaps", "gantry-tilt"]
    assert affines.shear_cosine(volume.affine_ras) < 1e-9


def test_a_tilted_head_lies_on_an_orthogonal_grid(real_data: Path) -> None:
    volume = read_real(real_data, Series("dicom2nifti_failing/gantrytilting/001"))
    (warning,) = [str(w) for w in volume.provenance.warnings if w.code == "gantry-tilt"]
    assert "tilted by 14.0 degrees" in warning
    assert affines.shear_cosine(volume.affine_ras) < 1e-9
    assert volume.array_ijk.shape[0] == 512
    assert volume.array_ijk.shape[1] > 512


def test_four_slices_at_one_position_are_no_volume(real_data: Path) -> None:
    root = real_data / "dicom2nifti_failing" / "notavolume" / "001"
    scans, ignored = find_series(root, sorted(root.iterdir()), ReadOptions())
    assert scans == []
    assert {item.code for item in ignored} == {"few-slices"}


def test_objects_that_are_no_ct_are_left_out_by_name(real_data: Path) -> None:
    files = [
        p for folder in ("dcmqi_ct3slice", "odd_dicom", "sts_003") for p in (real_data / folder).iterdir()
    ]
    _, ignored = find_series(real_data, [p for p in files if p.is_file()], ReadOptions())
    left_out = {item.name: item.code for item in ignored}
    assert left_out["sts_003/rtstruct.dcm"] == "rt-object"
    assert left_out["dcmqi_ct3slice/SEG_liver.dcm"] == "segmentation"
    assert left_out["odd_dicom/MR_truncated.dcm"] == "not-ct"
    assert left_out["odd_dicom/CR-MONO1-10-chest"] == "not-ct"
    assert left_out["odd_dicom/image_dfl.dcm"] == "secondary-capture"
