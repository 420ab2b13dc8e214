"""Real series against independent readers: SimpleITK and, where it is installed, dcm2niix."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError, UsageError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io.dicom import find_series, read_series
from hirescam_cli.io.scan import ReadOptions
from tests.io.dicom_case import codes
from tests.io.dicom_real_world import Series, files_of, read_real, series_uid

WHOLE = [
    Series("acrin_flt_torso_dcm", warnings=("pixel-padding",)),
    Series("cip_chest64/dicom"),
    Series("dcmqi_ct3slice", "0*.dcm", ("pixel-padding",)),
    Series("slicer_cthead64_dcm", warnings=("rescale-type", "values-not-hu")),
    Series("sts_003/dicom"),
    Series("totalseg_ct/dicom"),
    Series("odd_dicom", "CT_small.dcm"),
    Series("odd_dicom", "693_J2KI.dcm", ("pixel-padding",)),
    Series("odd_dicom", "D_CLUNIE_CT1_RLE_FRAGS.dcm", ("pixel-padding",)),
    Series("odd_dicom", "J2K_pixelrep_mismatch.dcm", ("pixel-padding",)),
    Series("odd_dicom", "TOSHIBA_J2K_SIZ0_PixRep1.dcm", ("pixel-padding",)),
]


def by_simpleitk(files: list[Path]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """HU [i, j, k] and RAS affine as SimpleITK reads them, the slices in its own order."""
    reader = sitk.ImageSeriesReader()
    names = [str(path) for path in files]
    if len(names) > 1:
        names = list(reader.GetGDCMSeriesFileNames(str(files[0].parent), series_uid(files[0])))
    reader.SetFileNames(names)
    image = reader.Execute()
    linear = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine = affines.LPS_TO_RAS @ affines.from_parts(linear, image.GetOrigin())
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), affine


@pytest.mark.parametrize("series", WHOLE, ids=lambda s: f"{s.folder}/{s.pattern}")
def test_voxels_and_affine_are_simpleitks(real_data: Path, series: Series) -> None:
    volume = read_real(real_data, series)
    array, affine = by_simpleitk(files_of(real_data, series))
    # SimpleITK keeps padding and everything else below air as it is stored.
    np.testing.assert_array_equal(volume.array_ijk, np.maximum(array, -1024))
    if volume.array_ijk.shape[2] > 1:
        np.testing.assert_allclose(volume.affine_ras, affine, rtol=0, atol=1e-4)
    assert tuple(codes(volume)) == series.warnings
    assert volume.array_ijk.dtype == np.int16


def test_a_series_whose_uid_is_not_valid_is_read_once_it_has_one(real_data: Path, tmp_path: Path) -> None:
    original = real_data / "odd_dicom" / "bad_sequence.dcm"
    invalid = series_uid(original)
    with pytest.raises(UsageError, match="--series"):
        ReadOptions(series=invalid)
    valid = "1.2.826." + "7" * (len(invalid) - 8)
    (tmp_path / "a.dcm").write_bytes(original.read_bytes().replace(invalid.encode(), valid.encode()))
    chosen = ReadOptions(series=valid)
    (scan,) = find_series(tmp_path, [tmp_path / "a.dcm"], chosen)[0]
    array, _ = by_simpleitk([original])
    np.testing.assert_array_equal(read_series(scan, chosen).array_ijk, np.maximum(array, -1024))


@pytest.mark.parametrize(
    "series", [s for s in WHOLE if s.pattern == "*"], ids=lambda s: f"{s.folder}/{s.pattern}"
)
def test_voxels_and_affine_are_dcm2niixs(real_data: Path, series: Series, tmp_path: Path) -> None:
    program = shutil.which("dcm2niix") or shutil.which("dcm2niix", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("dcm2niix is not installed (pip install dcm2niix)")
    for path in files_of(real_data, series):
        shutil.copy(path, tmp_path)
    subprocess.run(
        [program, "-z", "n", "-b", "n", "-f", "out", "-o", str(tmp_path), str(tmp_path)],
        capture_output=True,
        check=True,
    )
    (written,) = tmp_path.glob("*.nii")
    image: Any = nib.load(written)
    volume = read_real(real_data, series)
    other = np.asarray(image.dataobj)
    index = np.linalg.inv(image.affine) @ volume.affine_ras
    np.testing.assert_allclose(np.abs(index[:3, :3]), np.eye(3), atol=1e-4)
    flips = tuple(slice(None, None, -1 if index[a, a] < 0 else 1) for a in range(3))
    starts = [0.0 if index[a, a] > 0 else other.shape[a] - 1.0 for a in range(3)]
    np.testing.assert_allclose(index[:3, 3], starts, atol=1e-3)
    np.testing.assert_array_equal(volume.array_ijk, np.maximum(other[flips], -1024))


def test_dicom_and_nrrd_of_one_chest_agree(real_data: Path) -> None:
    volume = read_real(real_data, Series("cip_chest64/dicom"))
    matches = []
    for path in (real_data / "cip_chest64").glob("*.nrrd"):
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose(2, 1, 0)
        matches.append(array.shape == volume.array_ijk.shape and np.array_equal(array, volume.array_ijk))
    assert any(matches)


def test_dicom_and_nifti_of_one_patient_agree(real_data: Path) -> None:
    volume = read_real(real_data, Series("sts_003/dicom"))
    image: Any = nib.load(real_data / "sts_003" / "CT_image.nii.gz")
    other = np.asarray(image.dataobj)
    index = np.linalg.inv(image.affine) @ volume.affine_ras
    flips = tuple(slice(None, None, -1 if index[a, a] < 0 else 1) for a in range(3))
    np.testing.assert_allclose(volume.array_ijk, other[flips], atol=1e-3)


SYNTAXES = {
    "1.2.840.10008.1.2.dcm": 0,
    "1.2.840.10008.1.2.1.dcm": 0,
    "1.2.840.10008.1.2.2.dcm": 0,
    "1.2.840.10008.1.2.1.99.dcm": 0,
    "1.2.840.10008.1.2.5.dcm": 0,
    "1.2.840.10008.1.2.4.57.dcm": 0,
    "1.2.840.10008.1.2.4.70.dcm": 0,
    "1.2.840.10008.1.2.4.80.dcm": 0,
    "1.2.840.10008.1.2.4.81.dcm": 1,
    "1.2.840.10008.1.2.4.90.dcm": 0,
    "1.2.840.10008.1.2.4.91.dcm": 5,
}


@pytest.mark.parametrize("ending", SYNTAXES)
def test_one_slice_in_each_transfer_syntax(real_data: Path, ending: str) -> None:
    volume = read_real(real_data, Series("ts_ctimage", f"*_{ending}"))
    reference = read_real(real_data, Series("ts_ctimage", "*_1.2.840.10008.1.2.1.dcm"))
    difference = np.abs(volume.array_ijk.astype(int) - reference.array_ijk)
    assert difference.max() <= SYNTAXES[ending]
    assert reference.array_ijk.max() == 1378


@pytest.mark.parametrize("ending", ["1.2.840.10008.1.2.4.50.dcm", "1.2.840.10008.1.2.4.51.dcm"])
def test_lossy_jpeg_with_its_own_rescale(
    real_data: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    series = Series("ts_ctimage", f"*_{ending}")
    volume = read_real(real_data, series)
    assert capfd.readouterr() == ("", "")
    array, _ = by_simpleitk(files_of(real_data, series))
    np.testing.assert_allclose(volume.array_ijk, np.maximum(array, -1024), atol=1e-3)
    reference = read_real(real_data, Series("ts_ctimage", "*_1.2.840.10008.1.2.1.dcm"))
    assert np.abs(volume.array_ijk - reference.array_ijk).mean() < 20


@pytest.mark.parametrize("syntax", ["4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91"])
@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_real_codestream_that_ends_too_early_is_refused(
    real_data: Path, tmp_path: Path, syntax: str, keep: float
) -> None:
    (path,) = files_of(real_data, Series("ts_ctimage", f"*1.2.840.10008.1.2.{syntax}.dcm"))
    ds = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)).rstrip(b"\0")
    count = int(len(frame) * keep)
    for number, end in enumerate((b"", b"\xff\xd9", bytes(len(frame) - count))):
        ds.PixelData = pydicom.encaps.encapsulate([frame[:count] + end])
        (tmp_path / str(number)).mkdir()
        ds.save_as(tmp_path / str(number) / "a.dcm")
        with pytest.raises(ScanError, match=r"a\.dcm has .*pixels") as caught:
            read_real(tmp_path, Series(str(number)))
        assert caught.value.code == "dicom-decode"


@pytest.mark.parametrize(("syntax", "name"), [("53", "Spectral Selection"), ("55", "Full Progression")])
def test_jpeg_that_nothing_reads_is_named(real_data: Path, syntax: str, name: str) -> None:
    with pytest.raises(ScanError, match=name) as caught:
        read_real(real_data, Series("ts_ctimage", f"*4.{syntax}.dcm"))
    assert caught.value.code == "dicom-transfer-syntax"
