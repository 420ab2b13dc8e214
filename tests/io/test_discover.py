"""Discovery: what counts as a scan, how it is called, and why the rest is left out."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.errors import NoInputError, ScanError, UsageError
from hirescam_cli.io import Discovery, InputPath, ReadOptions, read
from hirescam_cli.io.names import check_case
from tests.io.dicom_factory import make_series, uid
from tests.io.itk_factory import make_meta, make_nrrd, make_radchest
from tests.io.loading import cases, find, reasons
from tests.io.nifti_factory import chest_hu, make_nifti

SERIES = ((16, 14, 12), (0.8, 0.7, 2.5))


def small_series(folder: Path, **options: object) -> list[Path]:
    return make_series(folder, chest_hu(SERIES[0]), SERIES[1], **options)  # type: ignore[arg-type]


def test_a_folder_of_everything(tmp_path: Path) -> None:
    root = tmp_path / "data"
    make_nifti(root / "b" / "scan.nii.gz")
    make_nifti(root / "a.nii")
    make_nifti(root / "pair.hdr")
    make_nrrd(root / "n.nrrd")
    make_nrrd(root / "detached.nhdr", data="detached.raw")
    make_meta(root / "m.mha")
    make_meta(root / "d.mhd", data="d.raw")
    make_radchest(root / "trn1.npz")
    small_series(root / "patient" / "ct")
    (root / "notes.txt").write_text("nothing")
    found = find(root)
    assert cases(found) == {
        "a": "nifti",
        "b/scan": "nifti",
        "d": "metaimage",
        "detached": "nrrd",
        "m": "metaimage",
        "n": "nrrd",
        "pair": "nifti",
        "patient/ct": "dicom",
        "trn1": "radchest-npz",
    }
    assert reasons(found) == {"notes.txt": "not-an-image"}
    assert list(cases(found)) == sorted(cases(found))
    assert {scan.name for scan in found.scans} >= {"b/scan.nii.gz", "pair.hdr", "d.mhd"}
    for scan in found.scans:
        assert read(scan, ReadOptions()).array_ijk.size > 0


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    make_nifti(tmp_path / "x.nii.gz").rename(tmp_path / "one.dat")
    make_nifti(tmp_path / "x.nii").rename(tmp_path / "two.bin")
    make_nrrd(tmp_path / "x.nrrd").rename(tmp_path / "three")
    make_meta(tmp_path / "x.mha").rename(tmp_path / "four.img")
    make_radchest(tmp_path / "x.npz").rename(tmp_path / "five.zip")
    small_series(tmp_path / "ct", suffix="")
    assert cases(find(tmp_path)) == {
        "ct": "dicom",
        "five": "radchest-npz",
        "four": "metaimage",
        "one": "nifti",
        "three": "nrrd",
        "two": "nifti",
    }


def test_single_inputs_are_called_after_their_file(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "sub" / "case 1.v2.nii.gz")
    (scan,) = find(path).scans
    assert (scan.case, scan.name, scan.root) == ("case 1.v2", "case 1.v2.nii.gz", path)
    (scan,) = find(InputPath(path, "study/17")).scans
    assert (scan.case, scan.name) == ("study/17", "case 1.v2.nii.gz")


def test_ids_are_prefixes_of_folders(tmp_path: Path) -> None:
    make_nifti(tmp_path / "data" / "a" / "b.nii")
    small_series(tmp_path / "data" / "ct")
    small_series(tmp_path / "series")
    assert list(cases(find(InputPath(tmp_path / "data", "x")))) == ["x/a/b", "x/ct"]
    assert list(cases(find(InputPath(tmp_path / "series", "p1")))) == ["p1"]
    assert list(cases(find(tmp_path / "series"))) == ["series"]


def test_several_series_of_one_folder(tmp_path: Path) -> None:
    small_series(tmp_path / "ct", series_uid="1.2.3", prefix="A")
    small_series(tmp_path / "ct", series_uid="1.2.4", prefix="B")
    assert list(cases(find(tmp_path / "ct"))) == ["ct/1.2.3", "ct/1.2.4"]
    assert list(cases(find(InputPath(tmp_path / "ct", "p")))) == ["p/1.2.3", "p/1.2.4"]
    hidden = find(tmp_path / "ct", identifiers="none")
    assert len(hidden.scans) == 2
    assert "1.2.3" not in " ".join(scan.case + scan.name for scan in hidden.scans)


@pytest.mark.parametrize(
    "case", ["", "/abs", "a//b", "../up", "a/../b", ".", "a\0b", "a\nb", "a\\b", " a", "x" * 300]
)
def test_bad_ids_are_refused(tmp_path: Path, case: str) -> None:
    path = make_nifti(tmp_path / "a.nii")
    with pytest.raises(UsageError) as caught:
        find(InputPath(path, case))
    assert caught.value.code == "case-name"


@pytest.mark.parametrize("case", ["a", "a/b", "Ä 1", "..a", "a.b-c_d", "1.2.3"])
def test_good_ids(case: str) -> None:
    assert check_case(case) == case


def test_missing_paths(tmp_path: Path) -> None:
    with pytest.raises(NoInputError) as caught:
        find(tmp_path / "missing")
    assert caught.value.exit_code == 66
    assert str(tmp_path) not in str(caught.value)


def test_nothing_found_is_an_empty_discovery(tmp_path: Path) -> None:
    assert find(tmp_path) == Discovery()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b", b"\xff" * 4000, b"PDF-1.4 nothing"])
def test_a_file_that_is_no_image(tmp_path: Path, content: bytes) -> None:
    """Given by itself it is refused when read; in a folder it is left out."""
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    (scan,) = find(path).scans
    assert scan.kind == "unknown"
    with pytest.raises(ScanError) as caught:
        read(scan, ReadOptions())
    assert caught.value.code == "not-an-image"
    assert "file.txt" in caught.value.message
    assert reasons(find(tmp_path)) == {"file.txt": "not-an-image"}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.npz"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
def test_damaged_scans_are_failures_even_in_a_folder(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (scan,) = find(tmp_path).scans
    with pytest.raises(ScanError) as caught:
        read(scan, ReadOptions())
    assert caught.value.hint


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_cut_scan_that_begins_with_zeros_is_no_mask(tmp_path: Path, name: str) -> None:
    array = np.zeros((60, 60, 60), dtype=np.int16)
    array[..., 30:] = -1000
    path = make_nifti(tmp_path / name, array)
    path.write_bytes(path.read_bytes()[: 120_000 if name == "a.nii" else 300])
    assert list(cases(find(tmp_path))) == ["a"]


def test_headers_and_images_of_other_programs(tmp_path: Path) -> None:
    """ENVI and others use .hdr and .img too."""
    (tmp_path / "map.hdr").write_text("ENVI\nsamples = 10\n")
    (tmp_path / "map.img").write_bytes(bytes(1000))
    (tmp_path / "disk.img").write_bytes(bytes(1000))
    np.savez(tmp_path / "features.npz", values=np.arange(4))
    found = find(tmp_path)
    assert found.scans == ()
    assert reasons(found)["features.npz"] == "not-radchest"
    assert set(reasons(found)) >= {"map.hdr", "disk.img", "features.npz"}


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
@pytest.mark.parametrize("maker", ["nifti", "pair", "nrrd", "meta"])
def test_masks_are_left_out_of_folders(tmp_path: Path, dtype: str, maker: str) -> None:
    mask = (chest_hu((20, 20, 20)) > 900).astype(dtype)
    if maker == "nifti":
        make_nifti(tmp_path / "m.nii.gz", mask)
    elif maker == "pair":
        make_nifti(tmp_path / "m.hdr", mask)
    elif maker == "nrrd":
        make_nrrd(tmp_path / "m.nrrd", mask, encoding="gzip")
    else:
        make_meta(tmp_path / "m.mha", mask, compressed=True)
    found = find(tmp_path)
    assert found.scans == ()
    assert list(reasons(found).values()) == ["label-map"]


def test_a_mask_given_by_itself_is_read_with_a_warning(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "m.nii.gz", (chest_hu() > 0).astype(np.uint8))
    (scan,) = find(path).scans
    assert [w.code for w in read(scan, ReadOptions()).provenance.warnings] == ["values-not-hu"]


def test_scans_that_look_a_little_like_masks_are_kept(tmp_path: Path) -> None:
    ramp = np.arange(8 * 8 * 8, dtype=np.int16).reshape(8, 8, 8)
    make_nifti(tmp_path / "ramp.nii", ramp)  # no value below 0, but more than 256 of them
    make_nifti(tmp_path / "few.nii", np.where(ramp > 99, 40, -1000).astype(np.int16))
    make_nifti(tmp_path / "fractions.nii", (ramp % 3 / 2).astype(np.float32))
    make_nifti(tmp_path / "scaled.nii", (ramp % 7).astype(np.uint8), scl_slope=100.0, scl_inter=-1000.0)
    late = np.zeros((64, 64, 64), dtype=np.int16)
    late[-1, -1, -1] = -5
    make_nifti(tmp_path / "late.nii.gz", late)
    assert list(cases(find(tmp_path))) == ["few", "fractions", "late", "ramp", "scaled"]


def test_two_scans_of_one_name_are_both_found(tmp_path: Path) -> None:
    make_nifti(tmp_path / "a.nii")
    make_nifti(tmp_path / "a.nii.gz")
    assert [scan.case for scan in find(tmp_path).scans] == ["a", "a"]


def test_archives(tmp_path: Path) -> None:
    small_series(tmp_path / "ct")
    archived = tmp_path / "in" / "study.zip"
    archived.parent.mkdir()
    with zipfile.ZipFile(archived, "w") as archive:
        for path in sorted((tmp_path / "ct").iterdir()):
            archive.write(path, f"DICOM/{path.name}")
    with zipfile.ZipFile(tmp_path / "in" / "texts.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    (tmp_path / "in" / "broken.zip").write_bytes(archived.read_bytes()[:500])
    found = find(tmp_path / "in")
    assert cases(found) == {"study/DICOM": "dicom"}
    assert reasons(found) == {"broken.zip": "zip-broken", "texts.zip": "not-an-image"}
    (scan,) = found.scans
    assert np.array_equal(read(scan, ReadOptions()).array_ijk, chest_hu(SERIES[0]))
    assert sorted(path.name for path in archived.parent.iterdir()) == ["broken.zip", "study.zip", "texts.zip"]
    assert list(cases(find(InputPath(archived, "p")))) == ["p/DICOM"]


def test_scans_travel_between_processes(tmp_path: Path) -> None:
    import pickle

    make_nifti(tmp_path / "a.nii")
    small_series(tmp_path / "ct")
    for scan in find(tmp_path).scans:
        again = pickle.loads(pickle.dumps(scan))
        assert again == scan
        assert np.array_equal(read(again, ReadOptions()).array_ijk, read(scan, ReadOptions()).array_ijk)


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    names = [f"{n:03d}" for n in range(30)]
    for name in np.random.default_rng(0).permutation(names):
        make_nifti(tmp_path / f"{name}.nii")
    assert [scan.case for scan in find(tmp_path).scans] == names


def test_series_uid_is_kept(tmp_path: Path) -> None:
    small_series(tmp_path / "ct", series_uid=uid("mine"))
    (scan,) = find(tmp_path).scans
    assert scan.series_uid == uid("mine")
