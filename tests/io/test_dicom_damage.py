"""Pixels that end too early, go on too long or make no sense; threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from hirescam_cli.io.dicom.codestream import CodestreamError, check_whole
from tests.io.dicom_case import assert_volume, codes, read, refused
from tests.io.dicom_factory import chest, expected_affine_ras, make_series
from tests.io.dicom_pixels_world import LARGE, SYNTAXES, padded

COMPRESSED = [RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless]


def test_trailing_zeros_after_the_pixels_are_let_pass(tmp_path: Path) -> None:
    def longer(ds: Dataset, _k: int) -> None:
        ds.PixelData += bytes(64)

    make_series(tmp_path, edit=longer)
    assert_volume(read(tmp_path), chest(), expected_affine_ras())


def test_a_modality_lut_is_refused(tmp_path: Path) -> None:
    def with_lut(ds: Dataset, _k: int) -> None:
        item = Dataset()
        item.ModalityLUTType = "HU"
        ds.ModalityLUTSequence = [item]

    make_series(tmp_path, edit=with_lut)
    error = refused(tmp_path)
    assert error.code == "dicom-pixels"
    assert "Modality LUT" in error.message


UNREADABLE = {
    "1.2.840.10008.1.2.4.53": "JPEG Spectral Selection",
    "1.2.840.10008.1.2.4.55": "JPEG Full Progression",
    "1.2.840.10008.1.2.4.100": "MPEG2",
    "1.2.840.10008.1.2.4.102": "MPEG-4",
    "1.2.3.4.5": "unknown",
}


@pytest.mark.parametrize("syntax", UNREADABLE)
def test_an_unreadable_transfer_syntax_is_named(tmp_path: Path, syntax: str) -> None:
    for path in make_series(tmp_path):
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = syntax
        ds.PixelData = pydicom.encaps.encapsulate([bytes(100)])
        ds["PixelData"].is_undefined_length = True
        ds.save_as(path, implicit_vr=False, little_endian=True)
    error = refused(tmp_path)
    assert error.code == "dicom-transfer-syntax"
    assert UNREADABLE[syntax] in error.message


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_truncated_slice_fails_the_scan_by_name(tmp_path: Path, syntax: str) -> None:
    paths = make_series(tmp_path, chest(LARGE), transfer_syntax=syntax)
    data = paths[5].read_bytes()
    paths[5].write_bytes(data[: len(data) - 200])
    error = refused(tmp_path)
    assert error.code in ("dicom-truncated", "dicom-decode", "dicom-broken", "dicom-pixels")
    assert paths[5].name in error.message


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_a_slice_of_garbage_fails_the_scan_by_name(tmp_path: Path, syntax: str) -> None:
    paths = make_series(tmp_path, chest(LARGE), transfer_syntax=syntax)
    ds = pydicom.dcmread(paths[5])
    ds.PixelData = pydicom.encaps.encapsulate([bytes(range(256)) * 4])
    ds.save_as(paths[5])
    error = refused(tmp_path)
    assert error.code in ("dicom-decode", "dicom-truncated")
    assert paths[5].name in error.message


def smooth(shape_ijk: tuple[int, int, int] = (64, 64, 12)) -> NDArray[np.int16]:
    """HU that vary little from voxel to voxel, as in tissue: most of them are left when a codestream ends early."""
    steps = np.random.default_rng(3).integers(-20, 21, size=shape_ijk)
    return np.cumsum(steps, axis=0).astype(np.int16)


def frame_of(path: Path) -> bytes:
    ds = pydicom.dcmread(path)
    frame: bytes = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    return frame.rstrip(b"\0")


def put_frame(path: Path, frame: bytes, syntax: str) -> None:
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = pydicom.encaps.encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path)


END = b"\xff\xd9"
DAMAGED_FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "its tail is zeros": lambda frame: frame[: len(frame) // 2] + bytes(len(frame) - len(frame) // 2),
    "its last bytes are zeros": lambda frame: frame[:-16] + bytes(16),
    "cut, and closed": lambda frame: frame[: len(frame) // 2] + END,
    "cut near its end, and closed": lambda frame: frame[: len(frame) * 9 // 10] + END,
    "cut": lambda frame: frame[: len(frame) // 2],
}


@pytest.mark.parametrize("damage", DAMAGED_FRAMES)
@pytest.mark.parametrize(
    ("written", "named"),
    [
        (JPEGLosslessSV1, JPEGLosslessSV1),
        (JPEGLosslessSV1, "1.2.840.10008.1.2.4.57"),
        (JPEG2000Lossless, JPEG2000Lossless),
        (JPEG2000Lossless, JPEG2000),
        (JPEGLSLossless, JPEGLSLossless),
    ],
)
def test_a_codestream_that_ends_too_early_fails_the_scan_by_name(
    tmp_path: Path, written: str, named: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = make_series(tmp_path, smooth(), transfer_syntax=written)
    put_frame(paths[5], frame_of(paths[5]), named)
    assert_volume(read(tmp_path), np.maximum(smooth(), -1024), expected_affine_ras())
    put_frame(paths[5], DAMAGED_FRAMES[damage](frame_of(paths[5])), named)
    error = refused(tmp_path)
    assert error.code == "dicom-decode"
    assert paths[5].name in error.message
    assert capfd.readouterr() == ("", "")


def test_a_hole_in_a_jpeg_codestream_fails_the_scan_by_name(tmp_path: Path) -> None:
    paths = make_series(tmp_path, smooth(), transfer_syntax=JPEGLosslessSV1)
    frame = frame_of(paths[5])
    middle = len(frame) // 2
    put_frame(paths[5], frame[:middle] + bytes(middle // 2) + frame[middle + middle // 2 :], JPEGLosslessSV1)
    error = refused(tmp_path)
    assert error.code == "dicom-decode"
    assert f"{paths[5].name} has damaged pixels (frame 1): the codestream does not hold all" in error.message


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("after", [bytes(7), bytes(2000), b"\xff\xff junk"])
def test_what_follows_a_whole_codestream_is_let_pass(tmp_path: Path, syntax: str, after: bytes) -> None:
    paths = make_series(tmp_path, smooth(), transfer_syntax=syntax)
    put_frame(paths[5], frame_of(paths[5]) + after, syntax)
    assert_volume(read(tmp_path), smooth(), expected_affine_ras())


def test_the_parts_of_a_jpeg_2000_codestream_are_gone_through(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, smooth((64, 64, 1)), transfer_syntax=JPEG2000Lossless)
    whole = frame_of(path)
    tile = whole.index(b"\xff\x90")
    length = int.from_bytes(whole[tile + 6 : tile + 10], "big")
    assert whole[tile + length :] == END
    to_the_end = whole[: tile + 6] + bytes(4) + whole[tile + 10 :]
    header = b"\xff\x90" + bytes((0, 10, 0, 0)) + (14).to_bytes(4, "big") + b"\1\2\xff\x93"
    for good in (whole, to_the_end, b"boxes of a JP2" + whole, whole[:-2] + header + END):
        check_whole(good, JPEG2000)
    for bad in (
        b"",
        b"\xff\x4f\xff\x51",
        whole[:-2],
        to_the_end[:-2],
        whole[: tile + 9],
        whole[:-2] + header,
    ):
        with pytest.raises(CodestreamError, match="has no end"):
            check_whole(bad, JPEG2000)


def test_a_compressed_slice_of_another_size_is_refused(tmp_path: Path) -> None:
    paths = make_series(tmp_path, chest(LARGE), transfer_syntax=JPEG2000Lossless)
    other = make_series(tmp_path / "other", chest((64, 40, 12)), transfer_syntax=JPEG2000Lossless)
    ds = pydicom.dcmread(paths[5])
    ds.PixelData = pydicom.dcmread(other[5]).PixelData
    ds.save_as(paths[5])
    for path in other:
        path.unlink()
    assert refused(tmp_path).code == "dicom-decode"


def test_a_constant_volume_is_refused(tmp_path: Path) -> None:
    make_series(tmp_path, np.full((24, 20, 12), -1000, np.int16))
    assert refused(tmp_path).code == "constant"


def test_a_file_that_changed_since_it_was_found_is_refused(tmp_path: Path) -> None:
    from hirescam_cli.errors import ScanError
    from hirescam_cli.io.dicom import read_series
    from hirescam_cli.io.scan import ReadOptions
    from tests.io.dicom_case import only

    paths = make_series(tmp_path)
    scan = only(tmp_path)
    ds = pydicom.dcmread(paths[3])
    ds.ImagePositionPatient = [0, 0, 0]
    ds.save_as(paths[3])
    with pytest.raises(ScanError, match=paths[3].name) as caught:
        read_series(scan, ReadOptions())
    assert caught.value.code == "dicom-changed"


def test_a_file_that_changed_only_in_what_is_not_read_is_read_all_the_same(tmp_path: Path) -> None:
    from hirescam_cli.io.dicom import read_series
    from hirescam_cli.io.scan import ReadOptions
    from tests.io.dicom_case import only

    paths = make_series(tmp_path)
    scan = only(tmp_path)
    ds = pydicom.dcmread(paths[3])
    ds.PatientComments = "moves the pixels further back in the file"
    ds.save_as(paths[3])
    assert_volume(read_series(scan, ReadOptions()), chest(), expected_affine_ras())


@pytest.mark.parametrize("copies", [0, 12])
def test_any_number_of_threads_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: int
) -> None:
    hu = np.tile(chest(), (1, 1, 4))
    hu[3, 4, 20] = 3000
    edit = padded(np.uint16, 4095, PixelPaddingValue=("US", 4095))
    make_series(tmp_path, hu, dtype=np.uint16, series_uid="1.2.3", edit=edit)
    make_series(tmp_path, hu[:, :, :copies], dtype=np.uint16, series_uid="1.2.3", prefix="copy", edit=edit)
    volumes = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        volumes.append(read(tmp_path))
    assert codes(volumes[0]) == [*(["duplicate-slices"] if copies else []), "pixel-padding"]
    for other in volumes[1:]:
        assert other.provenance == volumes[0].provenance
        assert_volume(other, volumes[0].array_ijk, volumes[0].affine_ras)
