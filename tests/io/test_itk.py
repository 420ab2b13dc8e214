"""NRRD, MetaImage and RAD-ChestCT: values, affines by hand, truncation, and each refusal."""

from __future__ import annotations

import gzip
import random
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from hirescam_cli.errors import ScanError
from tests.io.itk_factory import make_meta, make_nrrd, make_radchest
from tests.io.loading import codes, load, refused
from tests.io.nifti_factory import chest_hu

# Both factories put voxel (0, 0, 0) at LPS (-10, 20, 30), axes to the left, back and head.
EXPECTED = np.array([[-0.75, 0, 0, 10], [0, -0.5, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: make_nrrd(folder / "a.nrrd"),
        lambda folder: make_nrrd(folder / "a.nrrd", encoding="gzip"),
        lambda folder: make_nrrd(folder / "a.nrrd", endian="big"),
        lambda folder: make_nrrd(folder / "a.nhdr", data="a.raw"),
        lambda folder: make_nrrd(folder / "a.nhdr", encoding="gzip", data="a.raw.gz"),
        lambda folder: make_nrrd(folder / "a.nrrd", chest_hu().astype(np.float32)),
        lambda folder: make_nrrd(
            folder / "a.nrrd", space="right-anterior-superior", space_origin="(10,-20,30)",
            space_directions="(-0.75,0,0) (0,-0.5,0) (0,0,2.5)",
        ),
        lambda folder: make_meta(folder / "a.mha"),
        lambda folder: make_meta(folder / "a.mha", compressed=True),
        lambda folder: make_meta(folder / "a.mhd", data="a.raw"),
        lambda folder: make_meta(folder / "a.mhd", data="a.zraw", compressed=True),
        lambda folder: make_meta(folder / "a.mha", chest_hu().astype(np.float64)),
    ],
)  # fmt: skip
def test_the_same_volume_from_each_kind_of_file(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    volume = load(make(tmp_path))
    assert np.array_equal(volume.array_ijk, chest_hu())
    assert volume.array_ijk.dtype == np.int16
    assert np.allclose(volume.affine_ras, EXPECTED, atol=1e-12)
    assert volume.orientation == "LPS"
    assert codes(volume) == []


def test_directions_are_kept(tmp_path: Path) -> None:
    """An oblique NRRD and MetaImage: a voxel's place by hand from the header's columns."""
    cosine, sine = np.cos(0.3), np.sin(0.3)
    directions = f"({0.75 * cosine},{0.75 * sine},0) ({-0.5 * sine},{0.5 * cosine},0) (0,0,2.5)"
    nrrd = load(make_nrrd(tmp_path / "a.nrrd", space_directions=directions))
    matrix = f"{cosine} {sine} 0 {-sine} {cosine} 0 0 0 1"
    meta = load(make_meta(tmp_path / "a.mha", TransformMatrix=matrix))
    lps = np.array(
        [-10 + 0.75 * cosine * 3 - 0.5 * sine * 2, 20 + 0.75 * sine * 3 + 0.5 * cosine * 2, 30 + 2.5]
    )
    for volume in (nrrd, meta):
        assert np.allclose((volume.affine_ras @ [3, 2, 1, 1])[:3], lps * [-1, -1, 1], atol=1e-9)


def test_what_simpleitk_does_with_a_stream_of_unknown_length(tmp_path: Path) -> None:
    """Why voxels are not left to SimpleITK: this sound file is noise to it, and it does not say so."""
    path = make_meta(tmp_path / "a.mha", compressed=True)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose(2, 1, 0)
    assert not np.array_equal(theirs, chest_hu())
    assert np.array_equal(load(path).array_ijk, chest_hu())


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["nrrd", "nrrd-gzip", "mha", "mha-zlib"])
def test_truncation_is_refused(tmp_path: Path, kind: str, keep: float) -> None:
    if kind.startswith("nrrd"):
        path = make_nrrd(tmp_path / "a.nrrd", encoding="gzip" if "gzip" in kind else "raw")
    else:
        path = make_meta(tmp_path / "a.mha", compressed="zlib" in kind)
    data = path.read_bytes()
    start = (
        data.index(b"ElementDataFile = LOCAL\n") + 24 if kind.startswith("mha") else data.index(b"\n\n") + 2
    )
    path.write_bytes(data[: start + int((len(data) - start) * keep)])
    assert refused(path).code == "image-damaged"


@pytest.mark.parametrize("kind", ["nrrd", "mha"])
def test_no_bit_flip_in_compressed_voxels_goes_unnoticed(tmp_path: Path, kind: str) -> None:
    if kind == "nrrd":
        path = make_nrrd(tmp_path / "a.nrrd", encoding="gzip")
        good = path.read_bytes()
        start = good.index(b"\n\n") + 2
    else:
        path = make_meta(tmp_path / "a.mha", compressed=True)
        good = path.read_bytes()
        start = good.index(b"LOCAL\n") + 6
    rng = random.Random(5)
    for _ in range(40):
        data = bytearray(good)
        data[rng.randrange(start, len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
        try:
            assert np.array_equal(load(path).array_ijk, chest_hu())
        except ScanError as error:
            assert error.code == "image-damaged"  # noqa: PT017


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"space": "left-posterior-superior-time"}, "no-affine"),
        ({"drop": ("space",)}, "no-affine"),
        ({"space_units": '"cm" "cm" "cm"'}, "header-damaged"),
        ({"kinds": "complex domain domain"}, "voxel-type"),
        ({"type": "block"}, "voxel-type"),
        ({"encoding": "hex"}, "encoding"),
        ({"encoding": "bzip2"}, "encoding"),
        ({"endian": "middle"}, "header-damaged"),
        ({"sizes": "12 11 -10"}, "header-damaged"),
        ({"sizes": "12 11 10 1"}, "several-volumes"),
        ({"sizes": "3 12 11 10", "dimension": "4"}, "several-volumes"),
        ({"sizes": "12 110", "dimension": "2"}, "not-3d"),
        ({"sizes": "12 110 1"}, "not-3d"),
        ({"sizes": "40000 40000 40000"}, "too-many-voxels"),
        ({"sizes": "120 110 100"}, "image-damaged"),
        ({"space_directions": "(0.75,0,0) (0,0.5,0) (0.75,0,0)"}, "bad-affine"),
        ({"space_directions": "(0.75,0,0) (0,0.5,0) none"}, "header-damaged"),
        ({"space_directions": "(nan,0,0) (0,0.5,0) (0,0,1)"}, "header-damaged"),
        ({"space_origin": "(0,0)"}, "header-damaged"),
        ({"byte_skip": "-1", "encoding": "gzip"}, "header-damaged"),
        ({"byte_skip": "1.5"}, "header-damaged"),
        ({"byte_skip": "16"}, "image-damaged"),
        ({"line_skip": "-1"}, "header-damaged"),
        ({"line_skip": "2"}, "image-damaged"),
        ({"line_skip": "9999999"}, "header-damaged"),
        ({"spacings": "1 1 1"}, "header-damaged"),
        ({"spacings": "0.75 0.5 nan"}, "header-damaged"),
        ({"axis_mins": "0 0 0"}, "header-damaged"),
        ({"axis_maxs": "nan nan 5"}, "header-damaged"),
        ({"units": '"cm" "cm" "cm"'}, "header-damaged"),
    ],
)
def test_nrrd_refusals(tmp_path: Path, fields: dict[str, Any], code: str) -> None:
    assert refused(make_nrrd(tmp_path / "a.nrrd", **fields)).code == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ElementNumberOfChannels": "3"}, "voxel-type"),
        ({"ElementType": "MET_SHORT_ARRAY"}, "voxel-type"),
        ({"BinaryData": "False"}, "header-damaged"),
        ({"NDims": "2"}, "header-damaged"),
        ({"DimSize": "12 110", "NDims": "2"}, "not-3d"),
        ({"DimSize": "12 11 5 2", "NDims": "4"}, "several-volumes"),
        ({"DimSize": "12 11 0"}, "header-damaged"),
        ({"DimSize": "40000 40000 40000"}, "too-many-voxels"),
        ({"DimSize": "120 110 100"}, "image-damaged"),
        ({"drop": ("ElementSpacing",)}, "header-damaged"),
        ({"ElementSpacing": "0 1 1"}, "bad-affine"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "bad-affine"),
        ({"TransformMatrix": "1 0 0"}, "header-damaged"),
    ],
)
def test_metaimage_refusals(tmp_path: Path, fields: dict[str, Any], code: str) -> None:
    assert refused(make_meta(tmp_path / "a.mha", **fields)).code == code


@pytest.mark.parametrize(
    "fields",
    [
        {"spacings": "0.75 0.5 2.5"},
        {"spacings": "nan nan nan"},
        {"axis_mins": "nan nan nan", "axis_maxs": "NaN NaN NaN"},
        {"units": '"mm" "mm" "mm"'},
        {"space_units": '"mm" "mm" "mm"'},
        {"thicknesses": "1 1 5"},
    ],
)
def test_nrrd_fields_that_say_nothing_else_are_let_pass(tmp_path: Path, fields: dict[str, Any]) -> None:
    volume = load(make_nrrd(tmp_path / "a.nrrd", **fields))
    assert np.array_equal(volume.array_ijk, chest_hu())
    assert np.allclose(volume.affine_ras, EXPECTED, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "code", "what"),
    [
        ({"Origin": "1 2 3"}, "header-damaged", "Offset and Origin say different things"),
        ({"Position": "-10 20 30.5"}, "header-damaged", "Offset and Position say different things"),
        ({"Orientation": "0 1 0 1 0 0 0 0 1"}, "header-damaged", "TransformMatrix and Orientation say"),
        ({"ElementByteOrderMSB": "True"}, "header-damaged", "BinaryDataByteOrderMSB and ElementByteOrderMSB"),
        ({"DistanceUnits": "um"}, "header-damaged", "DistanceUnits is um, expected mm"),
        ({"DistanceUnits": "ell"}, "header-damaged", "DistanceUnits is not one of the format's"),
        ({"ElementToIntensityFunctionSlope": "2"}, "voxel-function", "Slope is 2, expected 1"),
        ({"ElementToIntensityFunctionOffset": "-1024"}, "voxel-function", "Offset is -1024, expected 0"),
        ({"ElementToIntensityFunctionSlope": "x"}, "header-damaged", "is not 1 finite numbers"),
    ],
)
def test_a_metaimage_header_that_readers_take_differently_is_refused(
    tmp_path: Path, fields: dict[str, Any], code: str, what: str
) -> None:
    error = refused(make_meta(tmp_path / "a.mha", **fields))
    assert error.code == code
    assert what in error.message
    assert error.hint
    assert (
        "Write the file again" in error.hint or "write the file again" in error.hint or "intact" in error.hint
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "-10.0 20.00 3e1", "Position": "-10 20 30"},
        {"Rotation": "1.0 0 0 0 1.0 0 0 0 1.0"},
        {"ElementByteOrderMSB": "F"},
        {"DistanceUnits": "mm"},
        {"DistanceUnits": "?"},
        {"ElementToIntensityFunctionSlope": "1.0", "ElementToIntensityFunctionOffset": "0"},
        {"AnatomicalOrientation": "RAI", "Modality": "MET_MOD_CT", "ElementMin": "-1000", "Comment": "x"},
        {"AcquisitionDate": "today", "OfNoFormat": "whatever"},
    ],
)
def test_metaimage_fields_that_change_nothing_are_let_pass(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = make_meta(tmp_path / "a.mha", **fields)
    volume = load(path)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose(2, 1, 0)
    assert np.array_equal(theirs, chest_hu())
    assert np.array_equal(volume.array_ijk, chest_hu())
    assert np.allclose(volume.affine_ras, EXPECTED, atol=1e-12)
    assert codes(volume) == []


def as_simpleitk(path: Path) -> None:
    """The file holds the made chest, for SimpleITK and for us."""
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose(2, 1, 0)
    assert np.array_equal(theirs, chest_hu())
    volume = load(path)
    assert np.array_equal(volume.array_ijk, chest_hu())
    assert np.allclose(volume.affine_ras, EXPECTED, atol=1e-12)
    assert codes(volume) == []


def meta_with_header_size(
    folder: Path, header_size: int, between: bytes, *, local: bool, compressed: bool
) -> Path:
    """A MetaImage with bytes between its header, or the beginning of its data file, and its voxels."""
    body = chest_hu().tobytes(order="F")
    body = zlib.compress(body) if compressed else body
    sizes = {"HeaderSize": str(header_size)} | ({"CompressedDataSize": str(len(body))} if compressed else {})
    name, data = ("a.mha", "LOCAL") if local else ("a.mhd", "a.raw")
    return make_meta(folder / name, compressed=compressed, data=data, payload=between + body, **sizes)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_header_size_counts_from_the_beginning_of_the_file_of_voxels(
    tmp_path: Path, local: bool, compressed: bool
) -> None:
    as_simpleitk(meta_with_header_size(tmp_path, 0, b"", local=local, compressed=compressed))
    length = len(
        meta_with_header_size(tmp_path, 1000, b"", local=local, compressed=compressed).read_bytes()
        if local
        else b""
    )
    voxels = len(zlib.compress(chest_hu().tobytes(order="F"))) if compressed else chest_hu().nbytes
    header = length - voxels if local else 0
    between = b"\7" * (1000 - header)
    as_simpleitk(meta_with_header_size(tmp_path, 1000, between, local=local, compressed=compressed))


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("between", [b"", b"x" * 77])
def test_a_header_size_of_minus_one_is_for_voxels_at_the_end(
    tmp_path: Path, local: bool, between: bytes
) -> None:
    path = meta_with_header_size(tmp_path, -1, between, local=local, compressed=False)
    as_simpleitk(path)
    voxels = path if local else tmp_path / "a.raw"
    voxels.write_bytes(voxels.read_bytes()[: -1 - len(between)])
    assert refused(path).code == "image-damaged"


@pytest.mark.parametrize(
    ("header_size", "local", "compressed", "what"),
    [
        (10, True, False, "HeaderSize is 10, and the header has "),
        (10, True, True, "HeaderSize is 10, and the header has "),
        (-1, True, True, "HeaderSize is -1, which means nothing where voxels are compressed"),
        (-1, False, True, "HeaderSize is -1, which means nothing where voxels are compressed"),
        (-2, True, False, "HeaderSize is not -1 or a number of bytes from 0 up"),
        (-2, False, False, "HeaderSize is not -1 or a number of bytes from 0 up"),
    ],
)
def test_a_header_size_that_cannot_be_is_refused(
    tmp_path: Path, header_size: int, local: bool, compressed: bool, what: str
) -> None:
    error = refused(meta_with_header_size(tmp_path, header_size, b"", local=local, compressed=compressed))
    assert error.code == "header-damaged"
    assert what in error.message


@pytest.mark.parametrize("data", [None, "a.raw"])
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize(
    ("fields", "lines", "skipped"),
    [
        ({"byte_skip": "0"}, b"", b""),
        ({"byte_skip": "16"}, b"", bytes(16)),
        ({"line_skip": "2"}, b"ab\ncd\n", b""),
        ({"line_skip": "2", "byte_skip": "3"}, b"ab\n\n", b"x\nz"),
    ],
)
def test_nrrd_skips_lines_before_and_bytes_after_decompressing(
    tmp_path: Path, data: str | None, encoding: str, fields: dict[str, Any], lines: bytes, skipped: bytes
) -> None:
    body = skipped + chest_hu().tobytes(order="F")
    payload = lines + (gzip.compress(body) if encoding == "gzip" else body)
    path = tmp_path / ("a.nrrd" if data is None else "a.nhdr")
    as_simpleitk(make_nrrd(path, encoding=encoding, payload=payload, data=data, **fields))


@pytest.mark.parametrize("data", [None, "a.raw"])
@pytest.mark.parametrize("between", [b"", b"x" * 77])
def test_a_byte_skip_below_zero_counts_from_the_end_of_raw_voxels(
    tmp_path: Path, data: str | None, between: bytes
) -> None:
    path = tmp_path / ("a.nrrd" if data is None else "a.nhdr")
    body = chest_hu().tobytes(order="F")
    as_simpleitk(make_nrrd(path, payload=between + body, data=data, byte_skip="-1"))
    make_nrrd(path, payload=between + body + b"12345", data=data, byte_skip="-6")
    volume = load(path)
    assert np.array_equal(volume.array_ijk, chest_hu())
    assert codes(volume) == ["trailing-bytes"]
    assert refused(make_nrrd(path, payload=body[:-1], data=data, byte_skip="-1")).code == "image-damaged"


def test_a_byte_skip_that_is_not_read_is_told_as_such(tmp_path: Path) -> None:
    error = refused(make_nrrd(tmp_path / "a.nrrd", encoding="gzip", byte_skip="-1"))
    assert error.message == "a.nrrd: byte skip is -1, which is read with raw encoding only."
    assert error.hint == "Write the file again without byte skip."
    error = refused(make_nrrd(tmp_path / "a.nrrd", encoding="gzip", payload=b"no gzip"))
    assert error.message.startswith("a.nrrd: the stream of compressed voxels holds bytes that are not")


def test_missing_orientation_and_origin_are_warned_about(tmp_path: Path) -> None:
    meta = load(make_meta(tmp_path / "a.mha", drop=("TransformMatrix", "Offset")))
    assert codes(meta) == ["affine-assumed", "origin-unknown"]
    nrrd = load(make_nrrd(tmp_path / "a.nrrd", drop=("space origin",)))
    assert codes(nrrd) == ["origin-unknown"]
    assert np.array_equal(nrrd.affine_ras[:3, 3], [0, 0, 0])


@pytest.mark.parametrize("data", ["../a.raw", "/etc/hostname", "sub/a.raw", "missing.raw"])
def test_data_files_elsewhere_are_not_followed(tmp_path: Path, data: str) -> None:
    (tmp_path / "case").mkdir()
    (tmp_path / "a.raw").write_bytes(chest_hu().tobytes(order="F"))
    for maker, suffix in ((make_meta, "mhd"), (make_nrrd, "nhdr")):
        path = maker(tmp_path / "case" / f"a.{suffix}", data=data)  # type: ignore[operator]
        (tmp_path / "case" / Path(data).name).unlink()
        assert refused(path).code == "no-data-file"


def test_bytes_after_the_voxels(tmp_path: Path) -> None:
    path = make_meta(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes() + b"12345")
    volume = load(path)
    assert codes(volume) == ["trailing-bytes"]
    assert np.array_equal(volume.array_ijk, chest_hu())


def test_radchest_axes_and_spacing(tmp_path: Path) -> None:
    array = chest_hu((9, 8, 7))
    volume = load(make_radchest(tmp_path / "trn00001.npz", array))
    assert np.array_equal(volume.array_ijk, array)
    assert volume.orientation == "IPL"
    assert np.allclose(volume.spacing_mm, 0.8)
    assert np.allclose((volume.affine_ras @ [4, 3.5, 3, 1])[:3], 0.0)
    assert np.allclose((volume.affine_ras @ [0, 0, 0, 1])[:3], [3 * 0.8, 3.5 * 0.8, 4 * 0.8])
    assert codes(volume) == ["origin-unknown"]
    assert volume.provenance.kind == "radchest-npz"


def test_radchest_refusals(tmp_path: Path) -> None:
    assert refused(make_radchest(tmp_path / "a.npz", key="volume")).code == "not-radchest"
    assert refused(make_radchest(tmp_path / "b.npz", chest_hu()[0])).code == "not-3d"
    assert refused(make_radchest(tmp_path / "c.npz"), max_voxels=1000).code == "too-many-voxels"
    assert refused(make_radchest(tmp_path / "d.npz", chest_hu().astype(complex))).code == "voxel-type"
    assert refused(make_radchest(tmp_path / "e.npz", np.full((4, 4, 4), None))).code == "voxel-type"
    assert refused(make_radchest(tmp_path / "f.npz", np.zeros((4, 4, 4), np.int16))).code == "constant"


def test_radchest_truncated_or_flipped(tmp_path: Path) -> None:
    path = make_radchest(tmp_path / "a.npz")
    good = path.read_bytes()
    path.write_bytes(good[:-30])
    assert refused(path).code == "image-damaged"
    rng = random.Random(6)
    for _ in range(40):
        data = bytearray(good)
        data[rng.randrange(60, len(data) - 120)] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
        try:
            assert np.array_equal(load(path).array_ijk, chest_hu())
        except ScanError as error:
            assert error.code in ("image-damaged", "voxel-type")  # noqa: PT017


def test_radchest_that_promises_too_much(tmp_path: Path) -> None:
    """A bomb: a header of a large array over few bytes, refused before memory is taken."""
    header = b"{'descr': '<i2', 'fortran_order': False, 'shape': (900, 900, 900), }"
    header = header.ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "ct.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4096)
        )
    error = refused(tmp_path / "a.npz")
    assert error.code == "image-damaged"
    assert "1458000000 bytes" in error.message


def test_gzip_data_of_a_detached_nrrd_is_checked(tmp_path: Path) -> None:
    path = make_nrrd(tmp_path / "a.nhdr", encoding="gzip", data="a.raw.gz")
    raw = gzip.decompress((tmp_path / "a.raw.gz").read_bytes())
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(raw[:-2]))
    assert refused(path).code == "image-damaged"


@pytest.mark.parametrize("seed", range(4))
def test_mutated_headers_are_read_as_simpleitk_does_or_refused(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    alphabet = b"0123456789 -.enaif()\n:="
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = make_nrrd(folder / "a.nrrd", encoding=rng.choice(["raw", "gzip"])) if number % 2 else (
            make_meta(folder / "a.mha")
        )  # fmt: skip
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 1, 2, 4])):
            place = rng.randrange(300)
            data[place : place + rng.randrange(3)] = bytes(rng.choices(alphabet, k=rng.randrange(3)))
        path.write_bytes(bytes(data))
        try:
            volume = load(path)
        except ScanError as error:
            assert error.hint  # noqa: PT017
            continue
        image = sitk.ReadImage(str(path))
        theirs = np.maximum(sitk.GetArrayFromImage(image).astype(float), -1024).transpose(2, 1, 0)
        assert np.array_equal(theirs, volume.array_ijk), data[:400]
        corner = [n - 1 for n in volume.array_ijk.shape]
        lps = np.array(image.TransformIndexToPhysicalPoint([int(n) for n in corner]))
        assert np.allclose(lps * [-1, -1, 1], (volume.affine_ras @ [*corner, 1])[:3], atol=1e-2)
