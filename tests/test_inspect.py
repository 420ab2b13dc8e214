"""`hirescam inspect`: what it says about each scan, in both forms, and its exit codes; it loads no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from hirescam_cli.cli.inspect import inspect_command
from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.inspection import inspect_inputs
from hirescam_cli.io import InputPath, ReadOptions
from hirescam_cli.model.spec import load_spec
from tests.io.dicom_factory import make_series
from tests.io.nifti_factory import affine, chest_hu, make_nifti

app = typer.Typer()
app.command()(inspect_command)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in (*arguments, "--model", "axialnet-83")])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One good NIfTI, one DICOM series, one damaged NIfTI, one mask, one text."""
    root = tmp_path / "data"
    make_nifti(root / "good.nii.gz", chest_hu((40, 30, 20)), affine((10.0, 1.0, 2.0)))
    make_series(root / "ct", chest_hu((16, 14, 12)), (0.8, 0.7, 2.5), series_uid="1.2.3.4")
    bad = make_nifti(root / "bad.nii.gz")
    bad.write_bytes(bad.read_bytes()[:-9])
    make_nifti(root / "mask.nii.gz", (chest_hu() > 0).astype(np.uint8))
    (root / "readme [v2].txt").write_text("text")
    return root


def test_the_document(folder: Path) -> None:
    found = inspect_inputs([InputPath(folder)], ReadOptions(), load_spec("axialnet-83")).document()
    json.dumps(found, allow_nan=False)
    scans = {scan["case"]: scan for scan in found["scans"]}
    assert list(scans) == ["bad", "ct", "good"]
    good = scans["good"]
    assert good["status"] == "ok"
    assert good["error"] is None
    assert good["kind"] == "nifti"
    assert good["shape"] == [40, 30, 20]
    assert good["spacing_mm"] == [10.0, 1.0, 2.0]
    assert good["orientation"] == "LPS"
    assert good["slices"] == 20
    assert good["affine"] == affine((10.0, 1.0, 2.0)).tolist()
    array = chest_hu((40, 30, 20))
    assert (good["hu_min"], good["hu_max"]) == (float(array.min()), float(array.max()))
    # 400 mm across at 0.8 mm are 500 voxels; the network sees 40 to 459 of them, so the columns 4 to 36 of 40.
    assert good["coverage"]["scan_seen_fraction"] == pytest.approx(33 / 40)
    filled = (420 * round(30 / 0.8) * round(40 / 0.8)) / (402 * 420 * 420)
    assert good["coverage"]["padding_fraction"] == pytest.approx(1 - filled, abs=1e-3)
    assert scans["ct"]["series_uid"] == "1.2.3.4"
    assert scans["ct"]["slices"] == 12
    bad = scans["bad"]
    assert bad["status"] == "refused"
    assert bad["error"]["code"] == "nifti-damaged"
    assert bad["error"]["stage"] == "read"
    assert bad["error"]["hint"]
    assert bad["shape"] is None
    codes = {item["name"]: item["code"] for item in found["ignored"]}
    assert codes == {"mask.nii.gz": "label-map", "readme [v2].txt": "not-an-image"}


def test_identifiers_none_leaves_the_series_uid_out(folder: Path) -> None:
    found = inspect_inputs([InputPath(folder)], ReadOptions(), load_spec("axialnet-83"), "none")
    assert "1.2.3.4" not in json.dumps(found.document())


def test_the_slices_are_counted_along_the_body(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.nii", chest_hu((5, 6, 7)), affine((1, 1, 1), axes=(3, 1, 2)))
    (scan,) = inspect_inputs([InputPath(path)], ReadOptions(), load_spec("axialnet-83")).scans
    assert (scan.orientation, scan.slices) == ("SRA", 5)


def test_json_is_one_document_on_stdout(folder: Path) -> None:
    code, out = run(folder, "--json")
    assert code == 8
    document = json.loads(out)
    assert document["schema_version"] == 2
    assert document["model"] == "axialnet-83"
    assert len(document["scans"]) == 3


def test_the_tables_say_it_all(folder: Path) -> None:
    code, out = run(folder)
    assert code == 8
    text = " ".join(out.split())
    for part in (
        "Scans (2)", "good nifti 40x30x20 10 x 1 x 2 LPS 20 -1000 .. 1199", "ct dicom 16x14x12",
        "Refused (1)", "bad.nii.gz", "ends too early", "nifti-damaged", "Left out (2)", "readme [v2].txt", "label-map",
    ):  # fmt: skip
        assert part in text, part
    assert str(folder.parent) not in out


def test_exit_codes(folder: Path, tmp_path: Path) -> None:
    assert run(folder / "good.nii.gz")[0] == 0
    assert run(folder / "bad.nii.gz")[0] == 65
    assert run(folder / "good.nii.gz", folder / "bad.nii.gz")[0] == 8
    (tmp_path / "empty").mkdir()
    code, out = run(tmp_path / "empty")
    assert code == 66
    assert "No scan was found." in out
    with pytest.raises(NoInputError):
        run(tmp_path / "missing")
    with pytest.raises(UsageError):
        run(folder, "--prefer", "both")
    with pytest.raises(UsageError):
        run(folder, "--identifiers", "some")


def test_options_reach_the_readers(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.nii", sform_code=0)
    assert run(path)[0] == 65
    assert run(path, "--assume-affine")[0] == 0
    assert run(path, "--assume-affine", "--max-voxels", "10")[0] == 65


def test_cases_of_one_name_are_warned_about(tmp_path: Path) -> None:
    make_nifti(tmp_path / "a.nii")
    make_nifti(tmp_path / "a.nii.gz")
    found = inspect_inputs([InputPath(tmp_path)], ReadOptions(), load_spec("axialnet-83"))
    assert [scan.warnings[-1].code for scan in found.scans] == ["case-clash"] * 2


def test_no_network_is_loaded(tmp_path: Path) -> None:
    path = make_nifti(tmp_path / "a.nii")
    program = (
        "import sys, typer\nfrom hirescam_cli.cli.inspect import inspect_command\n"
        "typer_app = typer.Typer(); typer_app.command()(inspect_command)\n"
        f"typer_app([{str(path)!r}, '--model', 'axialnet-83'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "12x11x10" in done.stdout


def test_many_objects_of_one_kind_in_one_folder_are_one_row(tmp_path: Path) -> None:
    """275 slices that make no volume are one finding, not 275; the document holds each."""
    positions = [[0.0, 0.0, 2.5 * k + 0.9 * (k % 2)] for k in range(60)]
    make_series(
        tmp_path / "data" / "lidc",
        chest_hu((12, 10, 60)),
        positions_lps=positions,
        FrameOfReferenceUID=lambda k: f"1.2.3.{k + 1}",
    )
    code, text = run(tmp_path / "data")
    assert code == 65
    assert "Left out (60)" in text
    assert text.count("few-slices") == 1
    assert "60 in lidc" in text
    assert len(text.splitlines()) < 20
    found = inspect_inputs([InputPath(tmp_path / "data")], ReadOptions(), load_spec("axialnet-83"))
    assert len(found.ignored) == 60
