"""Walking folders: own outputs, hidden and special files, loops of links, names that are no text."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from hirescam_cli.errors import NoInputError, ScanError
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.io.names import printable
from tests.io.loading import cases, find, reasons
from tests.io.nifti_factory import make_nifti


def test_own_outputs_are_left_out(tmp_path: Path) -> None:
    case = tmp_path / "out" / "a"
    make_nifti(case / "hirescam.nodule.nii.gz")
    make_nifti(case / "hirescam.cams.nii.gz")
    (case / "summary.json").write_text(json.dumps({"schema_version": 1, "status": "ok", "case": "a"}))
    make_nifti(case / "deeper" / "scan.nii.gz")
    make_nifti(tmp_path / "loose.cams.nii.gz")
    make_nifti(tmp_path / "other" / "scan.nii.gz")
    (tmp_path / "other" / "summary.json").write_text('{"title": "of another program"}')
    found = find(tmp_path)
    assert list(cases(found)) == ["other/scan", "out/a/deeper/scan"]
    assert reasons(found)["out/a"] == "hirescam-output"
    assert reasons(found)["loose.cams.nii.gz"] == "hirescam-output"


def test_hidden_files_and_apple_doubles(tmp_path: Path) -> None:
    make_nifti(tmp_path / "a.nii")
    shutil.copy(tmp_path / "a.nii", tmp_path / "._a.nii")
    shutil.copy(tmp_path / "a.nii", tmp_path / ".hidden.nii")
    make_nifti(tmp_path / ".git" / "b.nii")
    make_nifti(tmp_path / "__MACOSX" / "c.nii")
    found = find(tmp_path)
    assert list(cases(found)) == ["a"]
    assert reasons(found) == {
        "._a.nii": "apple-double",
        ".git": "hidden",
        ".hidden.nii": "hidden",
        "__MACOSX": "apple-double",
    }


def test_loops_of_links(tmp_path: Path) -> None:
    make_nifti(tmp_path / "a" / "scan.nii")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "dangling.nii").symlink_to(tmp_path / "nowhere")
    found = find(tmp_path)
    assert list(cases(found)) == ["a/scan"]
    assert reasons(found) == {"a/loop": "seen-before", "b": "seen-before", "dangling.nii": "special-file"}


@pytest.mark.timeout(20)
def test_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii")
    assert reasons(find(tmp_path)) == {"pipe.nii": "special-file"}
    (scan,) = find(tmp_path / "pipe.nii").scans
    with pytest.raises(ScanError) as caught:
        read(scan, ReadOptions())
    assert caught.value.code == "not-an-image"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_and_folders(tmp_path: Path) -> None:
    make_nifti(tmp_path / "a.nii").chmod(0)
    (tmp_path / "folder").mkdir(mode=0)
    found = find(tmp_path)
    assert reasons(found) == {"a.nii": "unreadable-file", "folder": "unreadable-folder"}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/bad\xff\x07name.nii"
    os.rename(make_nifti(tmp_path / "a.nii"), raw)
    (scan,) = find(tmp_path).scans
    assert scan.case == "bad\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}name"
    scan.case.encode("utf-8")
    assert read(scan, ReadOptions()).array_ijk.shape == (12, 11, 10)
    assert printable("a\u202eb") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("name", ["loop", "loop.nii", "a.dcm"])
def test_a_link_to_itself_is_left_out_and_the_rest_is_found(tmp_path: Path, name: str) -> None:
    root = tmp_path / "in"
    make_nifti(root / "sub" / "scan.nii")
    (root / "sub" / name).symlink_to(name)
    (root / "first").symlink_to("second")
    (root / "second").symlink_to("first")
    found = discover([InputPath(root)], ReadOptions())
    assert [scan.case for scan in found.scans] == ["sub/scan"]
    assert {item.name: item.code for item in found.ignored} == {
        f"sub/{name}": "special-file", "first": "special-file", "second": "special-file",
    }  # fmt: skip
    assert f"sub/{name} is a link that leads to itself, or that cannot be followed." in {
        item.reason for item in found.ignored
    }


def test_a_link_to_itself_as_an_input(tmp_path: Path) -> None:
    link = tmp_path / "loop.nii"
    link.symlink_to(link.name)
    with pytest.raises(NoInputError):
        discover([InputPath(link)], ReadOptions())
    (scan,) = discover([InputPath(link, listed=True)], ReadOptions()).scans
    with pytest.raises(ScanError) as caught:
        read(scan, ReadOptions())
    assert caught.value.code == "no-such-path"
    assert os.path.islink(link)
