"""DICOM in zip archives: read in memory, within limits, without a path of the archive ever reaching the disk."""

from __future__ import annotations

import tempfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hirescam_cli.errors import ScanError
from hirescam_cli.io import discover
from hirescam_cli.io import read as read_scan
from hirescam_cli.io.dicom import is_zip, read_series, sources
from hirescam_cli.io.scan import Discovery, InputPath, ReadOptions
from tests.io.dicom_case import assert_volume, find, only, read
from tests.io.dicom_factory import chest, expected_affine_ras, make_enhanced, make_series
from tests.io.loading import refused


def zipped(archive: Path, folder: Path, inside: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of a folder's files, below `inside`."""
    with zipfile.ZipFile(archive, "w", method) as target:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                target.write(path, inside + path.relative_to(folder).as_posix())
    return archive


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_equals_its_folder(tmp_path: Path, method: int) -> None:
    make_series(tmp_path / "in")
    archive = zipped(tmp_path / "scan.zip", tmp_path / "in", method=method)
    scan = only(archive)
    assert (scan.case, scan.files, scan.kind) == ("scan", (archive,), "dicom")
    volume = read_series(scan, ReadOptions())
    assert_volume(volume, chest(), expected_affine_ras())
    assert volume.provenance == read(tmp_path / "in").provenance


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_of_another_method_is_refused(tmp_path: Path, method: int) -> None:
    make_series(tmp_path / "in")
    assert ignored_code(zipped(tmp_path / "scan.zip", tmp_path / "in", method=method)) == "zip-method"


def test_a_zip_is_a_folder_named_by_its_stem(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "one", series_uid="1.1")
    make_series(tmp_path / "in" / "two", series_uid="1.2")
    (tmp_path / "root" / "sub").mkdir(parents=True)
    zipped(tmp_path / "root" / "sub" / "case7.zip", tmp_path / "in")
    scans, _ = find(tmp_path / "root")
    assert [scan.case for scan in scans] == ["sub/case7/one", "sub/case7/two"]


def test_a_zip_beside_its_folder_gets_a_name_of_its_own(tmp_path: Path) -> None:
    make_series(tmp_path / "root" / "a", series_uid="1.1")
    make_series(tmp_path / "in", series_uid="1.2")
    zipped(tmp_path / "root" / "a.zip", tmp_path / "in")
    scans, _ = find(tmp_path / "root")
    assert [scan.case for scan in scans] == ["a/1.1", "a/1.2"]


def test_the_extension_of_a_zip_plays_no_part(tmp_path: Path) -> None:
    make_series(tmp_path / "in")
    archive = zipped(tmp_path / "scan.bin", tmp_path / "in")
    assert is_zip(archive)
    assert_volume(read(archive), chest(), expected_affine_ras())


def test_an_enhanced_object_in_a_zip(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "in" / "e.dcm")
    assert_volume(read(zipped(tmp_path / "e.zip", tmp_path / "in")), chest(), expected_affine_ras())


@pytest.mark.parametrize("inside", ["../../", "/etc/", "C:\\windows\\", "a/../../b/", "..\\..\\"])
def test_paths_of_an_archive_never_leave_its_name(tmp_path: Path, inside: str) -> None:
    make_series(tmp_path / "in")
    archive = zipped(tmp_path / "x.zip", tmp_path / "in", inside)
    before = sorted(tmp_path.rglob("*"))
    scan = only(archive)
    assert scan.case.startswith("x")
    assert ".." not in scan.case.split("/")
    assert_volume(read_series(scan, ReadOptions()), chest(), expected_affine_ras())
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_series(tmp_path / "in")
    archive = zipped(tmp_path / "x.zip", tmp_path / "in")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    read(archive)
    assert list((tmp_path / "tmp").iterdir()) == []


def ignored_code(path: Path) -> str:
    scans, ignored = find(path)
    assert scans == []
    (item,) = ignored
    assert item.name == path.name
    return item.code


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("a.dcm", bytes(64 << 20))
    assert ignored_code(tmp_path / "bomb.zip") == "zip-too-large"


@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_ENTRIES", 11), ("MAX_ENTRY_BYTES", 1000), ("MAX_TOTAL_BYTES", 5000)]
)
def test_limits_of_entries_and_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    make_series(tmp_path / "in")
    archive = zipped(tmp_path / "x.zip", tmp_path / "in")
    monkeypatch.setattr(sources, limit, value)
    assert ignored_code(archive) == "zip-too-large"


@pytest.mark.parametrize("cut", [10, 400])
def test_a_truncated_archive_is_refused(tmp_path: Path, cut: int) -> None:
    make_series(tmp_path / "in")
    archive = zipped(tmp_path / "x.zip", tmp_path / "in")
    archive.write_bytes(archive.read_bytes()[:-cut])
    assert ignored_code(archive) == "zip-broken"


def test_a_damaged_entry_fails_by_name(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "in")
    archive = zipped(tmp_path / "x.zip", tmp_path / "in", method=zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    at = data.find(paths[5].read_bytes()[-200:])
    data[at + 100] ^= 0xFF
    archive.write_bytes(data)
    scans, ignored = find(archive)
    assert {item.code for item in ignored} <= {"unreadable-file"}
    if scans:
        with pytest.raises(ScanError) as caught:
            read_series(scans[0], ReadOptions())
        assert caught.value.code in ("unreadable-file", "dicom-gaps")


def test_an_entry_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    make_series(tmp_path / "in")
    archive = zipped(tmp_path / "x.zip", tmp_path / "in")
    data = archive.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        sizes = {info.file_size for info in opened.infolist()}
    for size in sizes:
        data = data.replace(size.to_bytes(4, "little"), (40).to_bytes(4, "little"))
    archive.write_bytes(data)
    scans, ignored = find(archive)
    assert scans == []
    assert ignored


def encrypted(archive: Path) -> Path:
    """An archive, its entries marked as encrypted."""
    data = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(signature, at + 4)
    archive.write_bytes(data)
    return archive


def test_an_encrypted_archive_is_left_out_as_one(tmp_path: Path) -> None:
    make_series(tmp_path / "in")
    archive = encrypted(zipped(tmp_path / "x.zip", tmp_path / "in"))
    scans, ignored = find(archive)
    assert scans == []
    assert [(item.name, item.code) for item in ignored] == [("x.zip", "zip-encrypted")]
    assert "password" in ignored[0].reason


def test_what_to_do_with_an_unusable_archive_is_told(tmp_path: Path) -> None:
    make_series(tmp_path / "in")
    (tmp_path / "root").mkdir()
    archives = {
        "zip-encrypted": encrypted(zipped(tmp_path / "root" / "x.zip", tmp_path / "in")),
        "zip-method": zipped(tmp_path / "root" / "y.zip", tmp_path / "in", method=zipfile.ZIP_LZMA),
    }
    for code, archive in archives.items():
        error = refused(archive)
        assert (error.code, error.hint) == (code, "Unpack it and give the folder.")
    found = discover([InputPath(tmp_path / "root")], ReadOptions())
    assert found.ignored == ()
    for scan, code in zip(found.scans, archives, strict=True):
        with pytest.raises(ScanError) as caught:
            read_scan(scan, ReadOptions())
        assert (caught.value.code, caught.value.hint) == (code, "Unpack it and give the folder.")


def test_two_entries_of_one_name_are_both_read(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "in")
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as target, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            target.write(path, "slice.dcm" if path in paths[3:5] else path.name)
    volume = read_series(only(archive), ReadOptions())
    assert_volume(volume, chest(), expected_affine_ras())


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_entry_that_inflates_to_more_than_it_says_costs_little_memory(tmp_path: Path, method: int) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", method) as target:
        target.writestr("a.dcm", bytes(128) + b"DICM" + bytes(200 << 20))
        target.writestr("b.txt", b"x")
    data = archive.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        size = opened.infolist()[0].file_size
    archive.write_bytes(data.replace(size.to_bytes(4, "little"), (5000).to_bytes(4, "little")))
    tracemalloc.start()
    try:
        scans, ignored = find(archive)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert scans == []
    told = {zipfile.ZIP_DEFLATED: ("x/a.dcm", "unreadable-file")}.get(method, ("x.zip", "zip-method"))
    assert told in {(item.name, item.code) for item in ignored}
    assert peak < 100 << 20


def damaged_zip(archive: Path, inside: str, damage: Callable[[bytes], bytes], ending: str = ".dcm") -> Path:
    """A series in the folder `inside` of an archive, the last of its 12 slices damaged."""
    files = make_series(archive.parent / "slices")
    with zipfile.ZipFile(archive, "w") as target:
        for number, path in enumerate(files):
            data = path.read_bytes()
            target.writestr(f"{inside}IM{number:04d}{ending}", damage(data) if number == 11 else data)
    return archive


def with_a_wrong_checksum(archive: Path) -> Path:
    """The archive with a byte of its last entry changed."""
    with zipfile.ZipFile(archive) as opened:
        last = opened.infolist()[-1]
    data = bytearray(archive.read_bytes())
    data[last.header_offset + 300] ^= 1
    archive.write_bytes(bytes(data))
    return archive


def found_in(path: Path) -> Discovery:
    return discover([InputPath(path)], ReadOptions())


@pytest.mark.parametrize("inside", ["", "st/se/"])
@pytest.mark.parametrize("ending", [".dcm", ""])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:100],
        lambda data: bytes(len(data)),
        lambda _data: b"",
        lambda data: data[:300],
        None,
    ],
    ids=["begins", "zeros", "empty", "cut", "checksum"],
)
def test_a_damaged_slice_in_an_archive_is_said(
    tmp_path: Path, inside: str, ending: str, damage: Callable[[bytes], bytes] | None
) -> None:
    archive = damaged_zip(tmp_path / "in" / "a.zip", inside, damage or (lambda data: data), ending)
    if damage is None:
        with_a_wrong_checksum(archive)
    for root in (archive, archive.parent):
        found = found_in(root)
        (scan,) = [scan for scan in found.scans if scan.case.startswith("a")]
        assert scan.case == f"a/{inside}".rstrip("/")
        (warning,) = scan.warnings
        assert str(warning).startswith(
            f"damaged-neighbours: 1 file beside the series could not be read (IM0011{ending});"
        )
        assert [item.name for item in found.ignored] == [f"a/{inside}IM0011{ending}"]
        assert read_series(scan, ReadOptions()).array_ijk.shape == (24, 20, 11)


@pytest.mark.parametrize("given", [None, "p"])
def test_a_damaged_image_alone_in_an_archive_fails(tmp_path: Path, given: str | None) -> None:
    (tmp_path / "in").mkdir()
    data = make_series(tmp_path / "slices")[0].read_bytes()
    archive = tmp_path / "in" / "a.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("st/x.dcm", data)
    with_a_wrong_checksum(archive)
    (scan,) = discover([InputPath(archive, given)], ReadOptions()).scans
    assert (scan.case, scan.name) == (f"{given or 'a'}/st/x", "a/st/x.dcm")
    with pytest.raises(ScanError) as caught:
        read_scan(scan, ReadOptions())
    assert caught.value.code == "unreadable-file"


def test_other_files_of_an_archive_are_no_slices(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", make_series(tmp_path / "s")[0].parent)
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr("README", "a viewer")
        target.writestr("viewer/run.exe", b"MZ" + bytes(90))
    found = found_in(archive)
    (scan,) = found.scans
    assert scan.warnings == ()
    assert {item.name: item.code for item in found.ignored} == {
        "a/README": "not-dicom",
        "a/viewer/run.exe": "not-dicom",
    }
