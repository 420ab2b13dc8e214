"""The same command again: what is done is skipped, and what is made otherwise is refused with what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.world import make_model, make_scan
from tests.cli.command import hirescam


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_second_run_skips_and_other_options_are_refused(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    run = ("explain", scan, "-o", tmp_path / "out", "--model", model, "--format", "nifti", "--jobs", 0)
    assert hirescam(capsys, *run).code == 0
    before = (tmp_path / "out" / "scan" / "summary.json").read_bytes()
    assert hirescam(capsys, *run).code == 0
    assert (tmp_path / "out" / "scan" / "summary.json").read_bytes() == before
    changed = hirescam(capsys, *run, "--labels", "all")
    assert changed.code == 2
    assert "--existing overwrite" in changed.err
    shown = f"hirescam render {tmp_path / 'out' / 'scan'} --scan INPUT --labels all --format nifti"
    assert shown in changed.err
    command = shown.replace("INPUT", str(scan)).split()[1:]
    assert hirescam(capsys, *command).code == 0
    assert (tmp_path / "out" / "scan" / "hirescam.mass.nii.gz").is_file()
    assert not list((tmp_path / "out" / "scan").glob("*.png"))
    other = hirescam(capsys, *run, "--labels", "all", "--threshold", "0.1")
    assert (other.code, "hirescam render" in other.err) == (2, False)
    assert hirescam(capsys, *run, "--labels", "mass", "--existing", "overwrite").code == 0
    names = {path.name for path in (tmp_path / "out" / "scan").iterdir()}
    assert names == {"summary.json", "hirescam.cams.nii.gz", "hirescam.mass.nii.gz"}


def test_existing_cases_can_end_a_run(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    run = ("explain", scan, "-o", tmp_path / "out", "--model", model, "--format", "nifti", "--jobs", 0)
    assert hirescam(capsys, *run, "--existing", "error").code == 0
    refused = hirescam(capsys, *run, "--existing", "error")
    assert (refused.code, refused.out) == (73, "")
    assert "already holds the case scan" in refused.err
