"""The registry of input formats: what it holds, that no two claim one file, and a format from another package."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hirescam_cli.cli.app import app
from hirescam_cli.errors import ScanError, UsageError
from hirescam_cli.io import InputPath, ReadOptions, discover, formats, read
from hirescam_cli.io.input_format import head_of
from tests.io.dicom_factory import make_enhanced, make_series
from tests.io.itk_factory import make_meta, make_nrrd, make_radchest
from tests.io.nifti_factory import chest_hu, make_nifti

FOREIGN = '''
"""A format of another package: text, a spacing in mm, then one line of HU a row."""
import hashlib
import numpy as np
from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import affine
from hirescam_cli.io.input_format import InputFormat, LeftOut
from hirescam_cli.io.values import to_hu
from hirescam_cli.volume import Provenance, Volume

def read(scan, options):
    first, *rows = scan.files[0].read_text().splitlines()
    spacing, shape = (float(first.split()[1]), [int(n) for n in first.split()[2:]])
    values = np.array([[float(n) for n in row.split()] for row in rows])
    if values.size != np.prod(shape):
        raise ScanError(f"{scan.name} is cut.", hint="Get the whole file.", code="rows-cut")
    hu, notes = to_hu(values.reshape(shape), scan.name)
    digest = hashlib.sha256(scan.files[0].read_bytes()).hexdigest()
    return Volume(hu, affine.scaling([spacing] * 3, [0.0] * 3), Provenance("rows", digest, None, notes))

FORMAT = InputFormat(
    kind="rows",
    title="rows of text",
    endings=(".rows", ".rows.txt"),
    sniff=lambda head: head.start.startswith(b"ROWS "),
    read=read,
    left_out=lambda files: LeftOut("label-map", "is a mask") if "mask" in files[0].name else None,
)
NOT_A_FORMAT = 17
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with an input format; its entry point is found as that of any other."""
    site = tmp_path / "site"
    (site / "made_up_rows-1.0.dist-info").mkdir(parents=True)
    (site / "made_up_rows.py").write_text(FOREIGN)
    (site / "made_up_rows-1.0.dist-info" / "METADATA").write_text("Name: made-up-rows\nVersion: 1.0\n")
    points = "[hirescam.input_formats]\nrows = made_up_rows:FORMAT\n"
    (site / "made_up_rows-1.0.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(site))
    forget()
    yield site
    forget()
    sys.modules.pop("made_up_rows", None)


def forget() -> None:
    formats.formats.cache_clear()
    formats._endings.cache_clear()


def write_rows(path: Path, spacing: float, hu: np.ndarray) -> Path:
    rows = "\n".join(" ".join(map(str, row)) for row in hu.reshape(-1, hu.shape[2]))
    path.write_text(f"ROWS {spacing} {' '.join(map(str, hu.shape))}\n{rows}\n")
    return path


def test_kinds_and_endings_are_each_those_of_one_format() -> None:
    kinds = [entry.kind for entry in formats.FORMATS]
    endings = [ending for entry in formats.FORMATS for ending in entry.endings]
    assert len(set(kinds)) == len(kinds)
    assert len(set(endings)) == len(endings)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)
    assert all(entry.title for entry in formats.FORMATS)


def test_no_two_formats_claim_one_file(tmp_path: Path) -> None:
    paths = {
        make_nifti(tmp_path / "a.nii.gz"): "nifti",
        make_nifti(tmp_path / "a.nii", version=2, endian=">"): "nifti",
        make_nifti(tmp_path / "b.hdr"): "nifti",
        tmp_path / "b.img": "nifti",
        make_nifti(tmp_path / "c.hdr", magic=b"", sform_code=0): "analyze",
        tmp_path / "c.img": "analyze",
        make_nrrd(tmp_path / "a.nrrd"): "nrrd",
        make_meta(tmp_path / "a.mha"): "metaimage",
        make_series(tmp_path / "ct")[0]: "dicom",
        make_enhanced(tmp_path / "e.dcm", chest_hu((8, 8, 12)), (1.0, 1.0, 1.0)): "dicom",
    }
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("IM1", b"x")
    paths[tmp_path / "a.zip"] = "zip"
    for path, kind in paths.items():
        assert [entry.kind for entry in formats.formats() if entry.sniff(head_of(path))] == [kind], path
    # An archive of arrays is an archive too: its own format comes first.
    found = formats.format_of(make_radchest(tmp_path / "a.npz"))
    assert found is not None
    assert found.kind == "radchest-npz"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.nii.gz", ("a", ".nii.gz")),
        ("A.NII.GZ", ("A", ".nii.gz")),
        ("a.b.IMG.gz", ("a.b", ".img.gz")),
        ("a.txt", ("a", ".txt")),
        (".nii", (".nii", "")),
        ("a", ("a", "")),
    ],
)
def test_names_are_split_at_known_endings(name: str, parts: tuple[str, str]) -> None:
    assert formats.split_ending(name) == parts


def test_what_is_not_an_image_is_told_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    (scan,) = discover([InputPath(tmp_path / "a.txt")], ReadOptions()).scans
    with pytest.raises(ScanError) as caught:
        read(scan, ReadOptions())
    assert caught.value.hint == (
        "Give NIfTI, ANALYZE, NRRD, MetaImage, RAD-ChestCT .npz, .zip of DICOM, DICOM or enhanced DICOM."
    )


@pytest.mark.usefixtures("package")
def test_a_format_of_another_package_is_found_and_read(tmp_path: Path) -> None:
    hu = chest_hu((5, 4, 6))
    hu[0, 0, 0] = -3024
    root = tmp_path / "data"
    root.mkdir()
    write_rows(root / "one.rows.txt", 1.5, hu)
    write_rows(root / "no-ending", 1.5, hu)
    write_rows(root / "mask.rows", 1.5, hu)
    (root / "cut.rows").write_text("nothing")
    make_nifti(root / "a.nii")
    found = discover([InputPath(root)], ReadOptions())
    assert [(scan.case, scan.kind) for scan in found.scans] == [
        ("a", "nifti"), ("cut", "rows"), ("no-ending", "rows"), ("one", "rows"),
    ]  # fmt: skip
    assert [(item.name, item.code) for item in found.ignored] == [("mask.rows", "label-map")]
    volume = read(found.scans[3], ReadOptions())
    assert np.array_equal(volume.array_ijk, np.maximum(hu, -1024))
    assert volume.spacing_mm == (1.5, 1.5, 1.5)
    assert [warning.code for warning in volume.provenance.warnings] == ["pixel-padding"]
    assert formats.titles().endswith("enhanced DICOM or rows of text")


@pytest.mark.usefixtures("package")
def test_a_foreign_volume_is_held_to_the_same_limits(tmp_path: Path) -> None:
    far = write_rows(tmp_path / "a.rows", 1500.0, chest_hu((5, 4, 6)))
    flat = write_rows(tmp_path / "b.rows", 1.0, chest_hu((5, 4, 6))[..., :1])
    for path, code in ((far, "bad-affine"), (flat, "not-3d")):
        (scan,) = discover([InputPath(path)], ReadOptions()).scans
        with pytest.raises(ScanError) as caught:
            read(scan, ReadOptions())
        assert caught.value.code == code


@pytest.mark.usefixtures("package")
def test_inspect_lists_a_scan_of_a_foreign_format(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "one.rows", 1.5, chest_hu((5, 4, 6)))
    result = CliRunner().invoke(app, ["inspect", str(path), "--json", "--model", "axialnet-83"])
    assert result.exit_code == 0, result.output
    (scan,) = json.loads(result.stdout)["scans"]
    assert (scan["kind"], scan["shape"], scan["status"]) == ("rows", [5, 4, 6], "ok")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("made_up_rows:NOT_A_FORMAT", "is not an InputFormat"),
        ("made_up_rows:ABSENT", "does not load"),
        ("no_such_package:FORMAT", "does not load"),
        ("hirescam_cli.io.formats.nrrd:FORMAT", "calls itself 'nrrd'"),
    ],
)
def test_a_broken_format_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, what: str) -> None:
    point = EntryPoint(name="rows", value=value, group=formats.GROUP)
    monkeypatch.setattr(formats, "entry_points", lambda group: [point] if group == formats.GROUP else [])
    forget()
    with pytest.raises(UsageError, match=what) as caught:
        formats.formats()
    assert caught.value.code == "input-format"
