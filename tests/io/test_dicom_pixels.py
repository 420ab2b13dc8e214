"""From stored pixels to HU: rescale, padding, bit depths, transfer syntaxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from tests.io.dicom_case import assert_volume, codes, read, refused
from tests.io.dicom_factory import chest, expected_affine_ras, make_enhanced, make_series, set_pixels
from tests.io.dicom_pixels_world import LARGE, SYNTAXES, padded
from tests.io.htj2k import make_htj2k_series


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_every_transfer_syntax_gives_the_same_voxels(tmp_path: Path, syntax: str, dtype: Any) -> None:
    make_series(tmp_path, chest(LARGE), transfer_syntax=syntax, dtype=dtype)
    assert_volume(read(tmp_path), chest(LARGE), expected_affine_ras())


@pytest.mark.parametrize("number", [201, 202, 203])
def test_high_throughput_jpeg_2000(tmp_path: Path, number: int) -> None:
    make_htj2k_series(tmp_path, number)
    row, column = np.meshgrid(np.arange(40), np.arange(48))
    expected = np.repeat(((13 * row + 7 * column) % 2048 - 1024)[..., None], 12, axis=2)
    assert_volume(read(tmp_path), expected, expected_affine_ras())


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_files_without_preamble_are_read(tmp_path: Path, syntax: str) -> None:
    make_series(tmp_path, transfer_syntax=syntax, preamble=False, suffix="")
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, -1024, np.int16), (1, 0, np.int16), (1, 1024, np.int16), (1, -2048, np.uint16), (-1, 500, np.int16)],
)
def test_whole_slopes_give_exact_int16(tmp_path: Path, slope: int, intercept: int, dtype: Any) -> None:
    make_series(tmp_path, slope=slope, intercept=intercept, dtype=dtype)
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


def test_a_whole_slope_of_two_is_exact(tmp_path: Path) -> None:
    hu = (chest() // 2 * 2).astype(np.int16)
    make_series(tmp_path, hu, slope=2, intercept=-1024)
    assert_volume(read(tmp_path), hu, expected_affine_ras())


def test_fractional_slopes_give_float32(tmp_path: Path) -> None:
    make_series(tmp_path, slope=0.5, intercept=-1024.25)
    volume = read(tmp_path)
    stored = np.rint((chest() + 1024.25) / 0.5)
    assert_volume(volume, (stored * 0.5 - 1024.25).astype(np.float32), expected_affine_ras(), np.float32)


def test_slope_and_intercept_are_those_of_each_slice(tmp_path: Path) -> None:
    hu = (chest() // 4 * 4).astype(np.int16)

    def own_rescale(ds: Dataset, k: int) -> None:
        slope, intercept = (1, -1024) if k % 3 else (4, -2048 + 4 * k)
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
        set_pixels(ds, ((hu[:, :, k].T.astype(int) - intercept) // slope).astype(np.int16))

    make_series(tmp_path, hu, edit=own_rescale)
    assert_volume(read(tmp_path), hu, expected_affine_ras())


def test_one_fractional_slice_makes_the_volume_float32(tmp_path: Path) -> None:
    make_series(tmp_path, RescaleIntercept=lambda k: -1024.5 if k == 5 else -1024)
    expected = chest().astype(np.float32)
    expected[:, :, 5] -= 0.5
    assert_volume(read(tmp_path), expected, expected_affine_ras(), np.float32)


def test_hu_beyond_int16_are_kept_in_float32(tmp_path: Path) -> None:
    hu = chest().astype(np.int32)
    hu[3, 4, 5] = 40_000
    make_series(tmp_path, hu, dtype=np.uint16)
    assert_volume(read(tmp_path), hu.astype(np.float32), expected_affine_ras(), np.float32)


@pytest.mark.parametrize(
    ("tags", "warning"),
    [
        ({"RescaleSlope": None, "RescaleIntercept": None}, "no-rescale"),
        ({"RescaleIntercept": None}, "no-rescale"),
        ({"RescaleSlope": ""}, "no-rescale"),
        ({"RescaleType": "US"}, "rescale-type"),
        ({"RescaleType": "HU_MOD"}, "rescale-type"),
        ({"RescaleIntercept": 2000}, "values-not-hu"),
    ],
)
def test_values_that_may_be_no_hu_are_warned_about(tmp_path: Path, tags: dict, warning: str) -> None:
    make_series(tmp_path, **tags)
    found = codes(read(tmp_path))
    assert warning in found
    assert set(found) <= {warning, "values-not-hu"}


@pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("lacking", [[5], [0, 11], list(range(11))])
@pytest.mark.parametrize("empty", [None, ""])
def test_a_rescale_that_only_some_slices_have_is_refused(
    tmp_path: Path, tag: str, lacking: list[int], empty: str | None
) -> None:
    value = {"RescaleSlope": 1, "RescaleIntercept": -1024}[tag]
    make_series(tmp_path, shuffle=False, **{tag: lambda k: empty if k in lacking else value})
    error = refused(tmp_path)
    what = {"RescaleSlope": "rescale slope", "RescaleIntercept": "rescale intercept"}[tag]
    assert error.code == "dicom-mixed-rescale"
    assert f"has no {what} in {len(lacking)} of 12 slices, first in IM{lacking[0]:04d}.dcm." in error.message


def test_a_rescale_that_only_some_frames_have_is_refused(tmp_path: Path) -> None:
    def without(groups: Dataset, k: int) -> None:
        if k in (3, 7):
            del groups.PixelValueTransformationSequence

    make_enhanced(tmp_path / "a.dcm", order=range(12), edit_frame=without)
    error = refused(tmp_path)
    assert error.code == "dicom-mixed-rescale"
    assert "has no rescale slope in 2 of 12 slices, first in a.dcm (frame 4)." in error.message


def test_warnings_never_quote_a_tag(tmp_path: Path) -> None:
    make_series(tmp_path, RescaleType="SECRET^NAME")
    assert "SECRET" not in "".join(map(str, read(tmp_path).provenance.warnings))


def test_no_rescale_type_is_no_reason_to_warn(tmp_path: Path) -> None:
    make_series(tmp_path, RescaleType=None)
    assert codes(read(tmp_path)) == []


@pytest.mark.parametrize(
    "tags", [{"RescaleSlope": 0}, {"RescaleSlope": "1e300"}, {"RescaleIntercept": "-1e9"}]
)
def test_a_senseless_rescale_is_refused(tmp_path: Path, tags: dict) -> None:
    make_series(tmp_path, **tags)
    assert refused(tmp_path).code == "dicom-rescale"


def test_monochrome1_never_inverts_hu(tmp_path: Path) -> None:
    make_series(tmp_path, PhotometricInterpretation="MONOCHROME1")
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


@pytest.mark.parametrize(
    ("dtype", "stored", "vr", "tag"),
    [
        (np.int16, -2000, "SS", -2000),
        (np.int16, -2000, "US", 63536),
        (np.int16, -32768, "SS", -32768),
        (np.uint16, 63536, "US", 63536),
        (np.uint16, 63536, "SS", -2000),
        (np.uint16, 4095, "US", 4095),
        (np.int16, 3071, "SS", 3071),
    ],
)
def test_padding_becomes_air_before_the_rescale(
    tmp_path: Path, dtype: Any, stored: int, vr: str, tag: int
) -> None:
    make_series(tmp_path, dtype=dtype, edit=padded(dtype, stored, PixelPaddingValue=(vr, tag)))
    volume = read(tmp_path)
    expected = chest()
    expected[-6:, -4:] = -1024
    assert_volume(volume, expected, expected_affine_ras())
    assert codes(volume) == ["pixel-padding"]
    assert f" {6 * 4 * 12} voxels" in str(volume.provenance.warnings[0])


@pytest.mark.parametrize(("value", "limit"), [(-2000, -1500), (-1500, -2000)])
def test_a_padding_range_becomes_air(tmp_path: Path, value: int, limit: int) -> None:
    edit = padded(np.int16, -1700, PixelPaddingValue=("SS", value), PixelPaddingRangeLimit=("SS", limit))
    make_series(tmp_path, edit=edit)
    expected = chest()
    expected[-6:, -4:] = -1024
    volume = read(tmp_path)
    assert_volume(volume, expected, expected_affine_ras())
    assert codes(volume) == ["pixel-padding"]


def test_padding_that_the_stored_bits_cannot_hold(tmp_path: Path) -> None:
    make_series(tmp_path, dtype=np.uint16, edit=padded(np.uint16, 63536, 12, PixelPaddingValue=("US", 63536)))
    expected = chest()
    expected[-6:, -4:] = -1024
    assert_volume(read(tmp_path), expected, expected_affine_ras())


def test_padding_without_a_tag_is_set_to_air_with_a_warning(tmp_path: Path) -> None:
    make_series(tmp_path, edit=padded(np.int16, -2000))
    expected = chest()
    expected[-6:, -4:] = -1024
    volume = read(tmp_path)
    assert_volume(volume, expected, expected_affine_ras())
    assert tuple(map(str, volume.provenance.warnings)) == (
        "pixel-padding: 288 voxels of padding (declared, or below -1024 HU) were set to -1024 HU.",
    )


def with_pattern(bits: int, high: int, signed: bool, junk: int) -> Any:
    """An edit that packs the stored values as `bits` below bit `high` + 1 of 16 amid `junk`."""

    def edit(ds: Dataset, _k: int) -> None:
        stored = np.frombuffer(ds.PixelData, np.int16).astype(np.int64)
        mask = (1 << bits) - 1
        shift = high + 1 - bits
        packed = ((stored & mask) << shift) | (junk & 0xFFFF & ~(mask << shift))
        set_pixels(ds, packed.astype(np.uint16).reshape(ds.Rows, ds.Columns))
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, high, int(signed)

    return edit


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize("junk", [0, 0xFFFF, 0xA5A5])
@pytest.mark.parametrize(
    ("bits", "high", "signed", "intercept"),
    [
        (12, 11, False, -1024),
        (12, 11, True, 0),
        (12, 15, False, -1024),
        (13, 14, True, 0),
        (14, 13, True, -1024),
        (16, 15, True, 0),
        (15, 14, False, -1024),
    ],
)
def test_only_the_stored_bits_count(
    tmp_path: Path, bits: int, high: int, signed: bool, intercept: int, junk: int, syntax: str
) -> None:
    edit = with_pattern(bits, high, signed, junk)
    make_series(tmp_path, intercept=intercept, edit=edit, transfer_syntax=syntax)
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize(
    ("bits", "high", "dtype", "intercept"),
    [(12, 15, np.uint16, -1024), (12, 12, np.uint16, -1024), (12, 15, np.int16, 0), (13, 14, np.int16, 0)],
)
def test_values_below_the_bits_that_are_named_are_refused(
    tmp_path: Path, bits: int, high: int, dtype: Any, intercept: int, syntax: str
) -> None:
    make_series(
        tmp_path, dtype=dtype, intercept=intercept, transfer_syntax=syntax, BitsStored=bits, HighBit=high
    )
    error = refused(tmp_path)
    assert error.code == "dicom-pixels"
    assert f"high bit {high} for {bits} bits stored, but values in the lowest {bits}." in error.message


def test_slices_of_different_sign_and_depth_are_one_volume(tmp_path: Path) -> None:
    edits = [with_pattern(12, 11, False, 0), with_pattern(16, 15, True, 0), with_pattern(12, 15, False, 0)]
    make_series(tmp_path, edit=lambda ds, k: edits[k % 3](ds, k))
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_32_bits_are_read(tmp_path: Path, dtype: Any) -> None:
    make_series(tmp_path, dtype=dtype)
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


def test_8_bits_with_a_rescale_are_read(tmp_path: Path) -> None:
    hu = (np.clip(chest(), -1000, 1000) // 8 * 8).astype(np.int16)
    make_series(tmp_path, hu, slope=8, intercept=-1024, dtype=np.uint8)
    assert_volume(read(tmp_path), hu, expected_affine_ras())


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"BitsStored": 17}, "dicom-pixels"),
        ({"BitsStored": 12, "HighBit": 3}, "dicom-pixels"),
        ({"HighBit": 16}, "dicom-pixels"),
        ({"BitsAllocated": 12}, "dicom-pixels"),
        ({"Rows": 21}, "dicom-truncated"),
        ({"Rows": 19}, "dicom-pixels"),
        ({"BitsAllocated": 32, "BitsStored": 16}, "dicom-truncated"),
        ({"PixelData": b"\0\0"}, "dicom-truncated"),
    ],
)
def test_pixels_that_do_not_fit_their_description_are_refused(tmp_path: Path, tags: dict, code: str) -> None:
    make_series(tmp_path, **tags)
    assert refused(tmp_path).code == code


def in_big_endian_words(folder: Path, shape_ijk: tuple[int, int, int], vr: str) -> NDArray[np.int16]:
    """Write a big-endian series of 8-bit pixels in Pixel Data of a VR; returns its HU."""
    hu = (np.random.default_rng(4).integers(0, 250, size=shape_ijk) - 100).astype(np.int16)

    def swap(ds: Dataset, _k: int) -> None:
        data = ds.PixelData + bytes(len(ds.PixelData) % 2)
        words = np.frombuffer(data, np.uint8).reshape(-1, 2)
        ds.PixelData = words[:, ::-1].tobytes() if vr == "OW" else data
        ds["PixelData"].VR = vr

    paths = make_series(
        folder, hu, intercept=-100, dtype=np.uint8, transfer_syntax=ExplicitVRBigEndian, edit=swap,
        shuffle=False,
    )  # fmt: skip
    theirs = np.stack([pydicom.dcmread(path).pixel_array.T for path in paths], axis=-1)
    assert np.array_equal(theirs.astype(np.int16) - 100, hu)
    return hu


@pytest.mark.parametrize("vr", ["OB", "OW"])
@pytest.mark.parametrize("shape", [(24, 20, 12), (23, 21, 12)])
def test_8_bits_of_big_endian_lie_as_the_vr_says(
    tmp_path: Path, vr: str, shape: tuple[int, int, int]
) -> None:
    hu = in_big_endian_words(tmp_path, shape, vr)
    assert_volume(read(tmp_path), hu, expected_affine_ras())


@pytest.mark.parametrize("rows", [20, 21])
def test_8_bits_of_big_endian_words_in_one_file_of_many_frames(tmp_path: Path, rows: int) -> None:
    """Frames of an odd size share a word."""
    hu = (np.random.default_rng(4).integers(0, 250, size=(23, rows, 12)) - 100).astype(np.int16)
    path = make_enhanced(
        tmp_path / "a.dcm", hu, intercepts=[-100] * 12, dtype=np.uint8, transfer_syntax=ExplicitVRBigEndian
    )
    ds = pydicom.dcmread(path)
    words = np.frombuffer(ds.PixelData + bytes(len(ds.PixelData) % 2), np.uint8).reshape(-1, 2)
    ds.PixelData = words[:, ::-1].tobytes()
    ds["PixelData"].VR = "OW"
    ds.save_as(path)
    assert_volume(read(tmp_path), hu, expected_affine_ras())
