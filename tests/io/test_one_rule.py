"""What holds for every format alike: padding is air, a scan has slices, lies near the origin and holds numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.io.values import padded_to_air, to_hu
from hirescam_cli.volume import Volume
from tests.io import dicom_factory as dcm
from tests.io.itk_factory import make_meta, make_nrrd, make_radchest
from tests.io.nifti_factory import affine, chest_hu, make_nifti

SHAPE = (16, 14, 12)
SERIES_UID = "1.2.3"
UNUSABLE = [np.nan, np.inf, -np.inf]

Make = Callable[[Path, NDArray[Any]], Path]


def series(folder: Path, hu: NDArray[Any]) -> Path:
    dcm.make_series(folder / "ct", hu, series_uid=SERIES_UID, intercept=0)
    return folder / "ct"


def series_that_declares(folder: Path, hu: NDArray[Any]) -> Path:
    dcm.make_series(folder / "ct", hu, series_uid=SERIES_UID, intercept=0, PixelPaddingValue=-3024)
    return folder / "ct"


MAKERS: dict[str, Make] = {
    "nifti": lambda folder, hu: make_nifti(folder / "a.nii.gz", hu),
    "analyze": lambda folder, hu: make_nifti(folder / "a.hdr", hu, magic=b"", sform_code=0),
    "nrrd": lambda folder, hu: make_nrrd(folder / "a.nrrd", hu, encoding="gzip"),
    "metaimage": lambda folder, hu: make_meta(folder / "a.mha", hu, compressed=True),
    "radchest-npz": lambda folder, hu: make_radchest(folder / "a.npz", hu),
    "dicom": series,
    "dicom that declares it": series_that_declares,
}


def load(path: Path) -> Volume:
    # A series is asked for by its UID, so that a short one is read too.
    options = ReadOptions(series=SERIES_UID, assume_affine=True)
    (scan,) = discover([InputPath(path)], options).scans
    return read(scan, options)


def notes(volume: Volume, code: str) -> list[str]:
    return [str(warning) for warning in volume.provenance.warnings if warning.code == code]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_padded_volume_is_the_same_from_every_format(tmp_path: Path, kind: str) -> None:
    hu = chest_hu(SHAPE)
    hu[0, 0, 0] = -1024
    hu[-1, -1, -1] = -1025
    padded = hu.copy()
    padded[:3, :5] = -3024
    expected = hu.copy()
    expected[-1, -1, -1] = -1024
    expected[:3, :5] = -1024
    volume = load(MAKERS[kind](tmp_path, padded))
    assert np.array_equal(volume.array_ijk, expected)
    assert volume.array_ijk.dtype == np.int16
    count = 3 * 5 * SHAPE[2] + 1
    assert notes(volume, "pixel-padding") == [
        f"pixel-padding: {count} voxels of padding (declared, or below -1024 HU) were set to -1024 HU."
    ]
    assert notes(volume, "values-not-hu") == []


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("lowest", [-1000, 0])
def test_padding_is_not_taken_for_air_that_shows_the_unit(tmp_path: Path, kind: str, lowest: int) -> None:
    values = chest_hu(SHAPE) - chest_hu(SHAPE).min() + lowest
    values[:3, :5] = -3024
    values[-1, -1, -1] = lowest
    found = notes(load(MAKERS[kind](tmp_path, values)), "values-not-hu")
    assert found == (
        [] if lowest else ["values-not-hu: the smallest value is 0; a CT in HU holds air, at about -1000."]
    )


@pytest.mark.parametrize("kind", MAKERS)
def test_a_volume_without_padding_is_left_alone(tmp_path: Path, kind: str) -> None:
    hu = chest_hu(SHAPE)
    hu[0, 0, 0] = -1024
    volume = load(MAKERS[kind](tmp_path, hu))
    assert np.array_equal(volume.array_ijk, hu)
    assert notes(volume, "pixel-padding") == []


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("slices", [1, 2])
def test_one_slice_is_not_a_scan_and_two_are(tmp_path: Path, kind: str, slices: int) -> None:
    path = MAKERS[kind](tmp_path, chest_hu(SHAPE)[..., :slices])
    if slices == 2:
        assert load(path).array_ijk.shape == (*SHAPE[:2], 2)
        return
    with pytest.raises(ScanError) as caught:
        load(path)
    assert caught.value.code == "not-3d"
    assert "16x14x1" in caught.value.message


@pytest.mark.parametrize("dtype", ["i2", "i4", "i8", "f4", "f8"])
def test_padding_of_each_type(dtype: str) -> None:
    array = np.array([-3024, -1025, -1024, -1023, 7], dtype=dtype)
    air, count = padded_to_air(array)
    assert (air.tolist(), count, air.dtype) == ([-1024, -1024, -1024, -1023, 7], 2, array.dtype)
    assert array[0] == -3024
    declared = np.array([False, False, False, False, True])
    assert padded_to_air(array, declared)[0].tolist() == [-1024, -1024, -1024, -1023, -1024]
    assert padded_to_air(array, declared)[1] == 3


@pytest.mark.parametrize("dtype", ["i1", "u1", "u2", "u4"])
def test_types_that_hold_no_padding_are_given_back(dtype: str) -> None:
    array = np.array([0, 5, 100], dtype=dtype)
    assert padded_to_air(array)[0] is array
    assert padded_to_air(array, np.zeros(3, dtype=bool)) == (array, 0)


def test_padding_too_low_for_int16_does_not_make_a_volume_float() -> None:
    array = chest_hu().astype(np.int32)
    array[0, 0, 0] = -100_000
    hu, warnings = to_hu(array, "a")
    assert (hu.dtype, hu[0, 0, 0]) == (np.int16, -1024)
    assert [warning.code for warning in warnings] == ["pixel-padding"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_big_volumes_are_converted_block_by_block(order: str) -> None:
    """Several blocks, the last not full: padding in the first, a fraction in the last."""
    array = np.asarray(np.resize(chest_hu((9, 8, 7)), (97, 83, 71)), dtype=np.float64, order=order)  # type: ignore[call-overload]
    array[0, 0, 0], array[-1, -1, -1] = -2000, 0.5
    hu, _ = to_hu(array, "a")
    assert hu.dtype == np.float32
    assert np.array_equal(hu, np.maximum(array, -1024).astype(np.float32))


def nowhere(kind: str, folder: Path, mm: float) -> Path:
    """A scan whose first voxel lies `mm` from the origin along one axis."""
    if kind == "nifti":
        matrix = affine()
        matrix[1, 3] = -mm
        return make_nifti(folder / "a.nii", None, matrix, version=2)
    if kind == "nrrd":
        return make_nrrd(folder / "a.nrrd", space_origin=f"(0,{mm!r},0)")
    if kind == "metaimage":
        return make_meta(folder / "a.mha", Offset=f"0 0 {mm!r}")
    dcm.make_series(folder / "ct", chest_hu(SHAPE), series_uid=SERIES_UID, origin_lps=(mm, 0.0, 0.0))
    return folder / "ct"


@pytest.mark.parametrize("kind", ["nifti", "nrrd", "metaimage", "dicom"])
def test_a_scan_lies_within_100_m_of_the_origin(tmp_path: Path, kind: str) -> None:
    assert np.abs(load(nowhere(kind, tmp_path, 100_000.0)).affine_ras[:3, 3]).max() == 100_000.0
    (tmp_path / "far").mkdir()
    with pytest.raises(ScanError) as caught:
        load(nowhere(kind, tmp_path / "far", 100_000.5))
    # The slices of a series are held to the limit one by one, before they are made a volume.
    expected = ("dicom-no-position", "100 m") if kind == "dicom" else ("bad-affine", "at most 100000 mm")
    assert caught.value.code == expected[0]
    assert expected[1] in caught.value.message


@pytest.mark.parametrize("kind", ["nifti", "nrrd", "metaimage"])
def test_an_origin_that_only_a_broken_file_has(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ScanError, match=r"3e\+38 mm") as caught:
        load(nowhere(kind, tmp_path, 3e38))
    assert caught.value.code == "bad-affine"


@pytest.mark.parametrize("value", UNUSABLE)
@pytest.mark.parametrize("kind", ["nifti", "nrrd", "metaimage", "radchest-npz"])
def test_at_most_three_quarters_of_a_scan_may_be_missing(tmp_path: Path, kind: str, value: float) -> None:
    hu = chest_hu(SHAPE).astype(np.float32)
    flat = hu.reshape(-1)
    flat[: hu.size * 3 // 4] = value
    volume = load(MAKERS[kind](tmp_path, hu))
    assert notes(volume, "nonfinite-voxels")[0].startswith("nonfinite-voxels: 2016 voxels (75 %)")
    assert np.array_equal(volume.array_ijk == -1024, ~np.isfinite(hu))
    assert notes(volume, "pixel-padding") == []
    flat[hu.size * 3 // 4] = value
    (tmp_path / "more").mkdir()
    with pytest.raises(ScanError, match="2017 of 2688 voxels are not finite") as caught:
        load(MAKERS[kind](tmp_path / "more", hu))
    assert caught.value.code == "nonfinite-voxels"
