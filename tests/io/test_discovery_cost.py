"""What discovery may cost: a header's worth a file, whatever the file promises or hides."""

from __future__ import annotations

import gzip
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hirescam_cli.errors import ScanError
from hirescam_cli.io import Discovery, InputPath, ReadOptions, discover, read
from hirescam_cli.io.gzipped import GzipError, GzipReader, inflated_start
from tests.io.itk_factory import make_meta, make_nrrd, make_radchest
from tests.io.nifti_factory import chest_hu, make_nifti, nifti_bytes

NOTHING = gzip.compress(b"", mtime=0)
SECONDS = 2.0


def timed(path: Path) -> tuple[Discovery, float]:
    """What discovery finds, and how long it took; imports are not counted."""
    make_nifti(path.parent.parent / "first" / "a.nii.gz", np.ones((4, 4, 4), np.int16))
    discover([InputPath(path.parent.parent / "first")], ReadOptions())
    start = time.perf_counter()
    found = discover([InputPath(path)], ReadOptions())
    return found, time.perf_counter() - start


def member(payload: bytes, name: bytes) -> bytes:
    """A gzip member with a file name in its header."""
    body = gzip.compress(payload, mtime=0)[10:]
    return b"\x1f\x8b\x08\x08" + bytes(6) + name + b"\0" + body


def test_a_gzip_header_of_a_long_name_is_not_read_through(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.nii.gz"
    path.write_bytes(member(nifti_bytes(chest_hu()), b"x" * (1 << 20)))
    found, seconds = timed(tmp_path / "in")
    assert seconds < SECONDS
    (scan,) = found.scans
    start = time.perf_counter()
    with pytest.raises(ScanError, match="header that is too long") as caught:
        read(scan, ReadOptions())
    assert time.perf_counter() - start < SECONDS
    assert caught.value.code == "nifti-damaged"


def test_a_gzip_header_of_a_name_of_some_length_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(member(nifti_bytes(chest_hu()), b"x" * 100_000))
    (scan,) = discover([InputPath(tmp_path)], ReadOptions()).scans
    assert np.array_equal(read(scan, ReadOptions()).array_ijk, chest_hu())


def test_many_empty_gzip_members_are_read_in_a_moment(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    data = nifti_bytes(chest_hu())
    path = tmp_path / "in" / "a.nii.gz"
    path.write_bytes(NOTHING * 300_000 + gzip.compress(data))
    found, seconds = timed(tmp_path / "in")
    assert seconds < SECONDS
    (scan,) = found.scans
    start = time.perf_counter()
    assert np.array_equal(read(scan, ReadOptions()).array_ijk, chest_hu())
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize("kind", ["nifti", "nrrd", "metaimage"])
def test_a_bomb_that_looks_like_a_mask_is_looked_at_for_a_moment(tmp_path: Path, kind: str) -> None:
    """Almost 1 GiB of zeros in 1 MB: 64 MiB of them are looked at."""
    (tmp_path / "in").mkdir()
    shape = (1024, 1024, 900)
    codec: Any = zlib.compressobj(9, wbits=15 if kind == "metaimage" else 31)
    zeros = bytes(1 << 24)
    fields = {"sizes": "1024 1024 900"} if kind == "nrrd" else {"DimSize": "1024 1024 900"}
    small = np.zeros((2, 2, 2), np.uint8)
    start = nifti_bytes(small, dim=[3, *shape, 1, 1, 1, 1])[:352] if kind == "nifti" else b""
    pieces = [codec.compress(start)] + [codec.compress(zeros) for _ in range(16)]
    # Each further 16 MiB are the same deflate blocks again: cut at a flush, they may be repeated.
    pieces.append(codec.flush(zlib.Z_FULL_FLUSH))
    more = codec.compress(zeros) + codec.flush(zlib.Z_FULL_FLUSH)
    payload = b"".join(pieces) + more * 40
    if kind == "nifti":
        (tmp_path / "in" / "a.nii.gz").write_bytes(payload)
    elif kind == "nrrd":
        make_nrrd(tmp_path / "in" / "a.nrrd", small, encoding="gzip", payload=payload, **fields)
    else:
        make_meta(tmp_path / "in" / "a.mha", small, compressed=True, payload=payload, **fields)
    found, seconds = timed(tmp_path / "in")
    assert seconds < SECONDS
    assert [item.code for item in found.ignored] == ["label-map"]


def test_the_look_for_labels_goes_on_for_64_mib(tmp_path: Path) -> None:
    """A value below 0 within the first 64 MiB makes a scan, one well after them is not seen."""
    for name, where in (("seen", (64 << 20) - 1), ("unseen", 66 << 20)):
        array = np.zeros((1024, 1024, 67), dtype=np.int8, order="F")
        array.reshape(-1, order="F")[where] = -1
        make_nifti(tmp_path / f"{name}.nii", array)
    found = discover([InputPath(tmp_path)], ReadOptions())
    assert [scan.case for scan in found.scans] == ["seen"]
    assert [(item.name, item.code) for item in found.ignored] == [("unseen.nii", "label-map")]


def test_a_mask_behind_more_bytes_than_a_header_has_is_left_to_its_reader(tmp_path: Path) -> None:
    """Voxels that begin 2 GB into the stream are not skipped to in discovery."""
    (tmp_path / "in").mkdir()
    data = nifti_bytes(np.zeros((4, 4, 4), np.uint8), vox_offset=float(1 << 31))
    codec: Any = zlib.compressobj(9, wbits=31)
    payload = codec.compress(data) + codec.flush(zlib.Z_FULL_FLUSH)
    more = codec.compress(bytes(1 << 24)) + codec.flush(zlib.Z_FULL_FLUSH)
    (tmp_path / "in" / "a.nii.gz").write_bytes(payload + more * 130)
    found, seconds = timed(tmp_path / "in")
    assert seconds < SECONDS
    assert [scan.case for scan in found.scans] == ["a"]


@pytest.mark.parametrize("kind", ["nrrd", "metaimage"])
def test_a_header_of_a_million_lines_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / ("a.nhdr" if kind == "nrrd" else "a.mhd")
    if kind == "nrrd":
        make_nrrd(path, data="a.raw")
        path.write_bytes(b"NRRD0004\n" + b"#\n" * (1 << 20) + path.read_bytes()[9:])
    else:
        make_meta(path, data="a.raw")
        path.write_bytes(b"NDims = 3\n" + b"\n" * (1 << 20))
    found, seconds = timed(tmp_path / "in")
    assert seconds < SECONDS
    with pytest.raises(ScanError, match="more than 10000 lines") as caught:
        read(found.scans[0], ReadOptions())
    assert caught.value.code == "header-damaged"


def test_an_archive_of_many_entries_is_not_listed_to_find_an_array(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "a.npz", "w") as archive:
        for number in range(30_000):
            archive.writestr(f"{number}.npy", b"")
    found, seconds = timed(tmp_path / "in")
    assert seconds < SECONDS
    (scan,) = found.scans
    assert scan.kind == "radchest-npz"
    with pytest.raises(ScanError) as caught:
        read(scan, ReadOptions())
    assert caught.value.code == "not-radchest"
    path = make_radchest(tmp_path / "trn1.npz")
    assert [scan.kind for scan in discover([InputPath(path)], ReadOptions()).scans] == ["radchest-npz"]


def test_the_first_bytes_of_a_gzip_file() -> None:
    assert inflated_start(gzip.compress(b"a" * 9000), 100) == b"a" * 100
    assert (
        inflated_start(NOTHING * 3 + gzip.compress(b"ab") + bytes(5) + gzip.compress(b"cd"), 100) == b"abcd"
    )
    assert inflated_start(gzip.compress(b"ab") + gzip.compress(b"cd")[:-3] + b"xyz", 100) == b"ab"
    assert inflated_start(b"\x1f\x8b\x08\xff", 100) == b""
    assert inflated_start(b"", 100) == b""


def test_a_gzip_reader_ends_at_its_limit() -> None:
    import io

    data = gzip.compress(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes())
    assert len(GzipReader(io.BytesIO(data), limit=len(data)).read(6000)) == 5000
    with pytest.raises(GzipError, match="too early"):
        GzipReader(io.BytesIO(data), limit=len(data) - 1).drain()


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b"\x1f\x8b\x08\x20" + bytes(6), "not a gzip member"),
        (b"\x1f\x8b\x07\x00" + bytes(6), "not a gzip member"),
        (b"\x1f\x8b\x08\x02" + bytes(6) + struct.pack("<H", 1), "checksum of its header"),
    ],
)
def test_faults_of_a_gzip_header(header: bytes, what: str) -> None:
    import io

    with pytest.raises(GzipError, match=what):
        GzipReader(io.BytesIO(header + gzip.compress(b"abc")[10:])).drain()
