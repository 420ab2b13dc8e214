"""Lists of INPUTs: a path that cannot be reached is one scan's failure, never the run's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.batch.world import make_model, make_scan
from tests.cli.command import hirescam


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("gone.nii", "does not exist"),
        ("x" * 300 + ".nii", "cannot be reached: file name too long"),
        ("/" + "x/" * 3000, "cannot be reached: file name too long"),
        ("id=" + "x" * 300, "cannot be reached: file name too long"),
        ("loop", "cannot be reached: too many levels of symbolic links"),
        ("scan.nii.gz/a.nii", "cannot be reached: not a directory"),
    ],
)
def test_a_listed_path_that_cannot_be_reached_is_one_failure(
    tmp_path: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_scan(tmp_path / "scan.nii.gz")
    (tmp_path / "loop").symlink_to("loop")
    done = hirescam(
        capsys, "explain", "-", "-o", "out", "--model", model, "--format", "nifti", "--jobs", 0, "--json",
        stdin=f"{line}\nscan.nii.gz\n",
    )  # fmt: skip
    assert done.code == 8
    cases = {case["case"]: case["status"] for case in json.loads(done.out)["cases"]}
    assert sorted(cases.values()) == ["failed", "ok"]
    (failed,) = [case for case, status in cases.items() if status == "failed"]
    assert (
        f"is in the list but {reason}"
        in json.loads((tmp_path / "out" / failed / "summary.json").read_text())["error"]["message"]
    )


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    done = hirescam(capsys, "inspect", "-", "--json", stdin=f"\ufeff{scan}\n")
    assert (done.code, [one["case"] for one in json.loads(done.out)["scans"]]) == (0, ["scan"])


def test_an_input_that_cannot_be_reached_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    done = hirescam(capsys, "inspect", "x" * 300)
    assert (done.code, "cannot be reached: file name too long" in done.err) == (66, True)
