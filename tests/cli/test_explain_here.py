"""`hirescam explain .` and its like: the scans below, under their own names, never the results of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.batch.world import make_model, make_scan
from tests.cli.command import hirescam
from tests.io.dicom_factory import chest, make_series


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A study with scans in it and in a folder below, and a folder beside that leads to it."""
    make_scan(tmp_path / "study" / "a.nii.gz", 1)
    make_scan(tmp_path / "study" / "deep" / "b.nii.gz", 2)
    (tmp_path / "link").symlink_to("study")
    return tmp_path


def cases(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> list[str]:
    """The cases of a run, which must end with `code`."""
    result = hirescam(capsys, "explain", *arguments, "--format", "nifti", "--jobs", 0, "--json")
    assert result.code == code, result.err
    document: Any = json.loads(result.out)
    return [case["case"] for case in document["cases"]]


def test_the_working_folder(
    world: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world / "study")
    assert cases(capsys, ".", "--model", model) == ["a", "deep/b"]
    assert (world / "study" / "hirescam-output" / "deep" / "b" / "summary.json").is_file()
    again = hirescam(capsys, "explain", ".", "--model", model, "--format", "nifti", "--jobs", 0)
    assert again.code == 0, again.err
    assert "2 already there" in again.err
    assert "Left out: hirescam-output is the output folder of this run." in again.err
    assert again.err.count("Left out") == 1


GIVEN = {
    ".": ["a", "deep/b"],
    "./": ["a", "deep/b"],
    "../study/": ["a", "deep/b"],
    "../link/": ["a", "deep/b"],
    "deep/..": ["a", "deep/b"],
    "deep": ["b"],
    "./deep/b.nii.gz": ["b"],
    "..": ["study/a", "study/deep/b"],
}


@pytest.mark.parametrize("given", GIVEN)
def test_other_words_for_it(
    given: str, world: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if given == "..":
        # Else the scans would be reached twice, and called by what leads there first.
        (world / "link").unlink()
    monkeypatch.chdir(world / "study")
    for _ in range(2):
        assert cases(capsys, given, "--model", model) == GIVEN[given]
    assert (world / "study" / "hirescam-output" / GIVEN[given][0] / "summary.json").is_file()


@pytest.mark.parametrize(
    ("given", "name"), [(".", "series"), ("./", "series"), ("../link", "link"), ("../series", "series")]
)
def test_a_series_is_called_as_its_folder_was_given(
    given: str,
    name: str,
    tmp_path: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_series(tmp_path / "series", chest((24, 20, 12)), (8.0, 8.0, 8.0))
    (tmp_path / "link").symlink_to("series")
    monkeypatch.chdir(tmp_path / "series")
    assert cases(capsys, given, "--model", model) == [name]
    assert cases(capsys, given, "--model", model) == [name]


def test_an_output_folder_with_scans_of_the_user_is_refused(
    world: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world / "study")
    refused = hirescam(capsys, "explain", ".", "-o", "deep", "--model", model, "--jobs", 0)
    assert refused.code == 2
    assert "The input deep/b.nii.gz lies inside the output folder deep." in refused.err
    refused = hirescam(capsys, "explain", ".", "-o", ".", "--model", model, "--jobs", 0)
    assert (refused.code, "is the input" in refused.err) == (2, True)
    assert not list((world / "study").rglob("summary.json"))


def test_results_of_other_runs_are_left_out_too(
    world: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world / "study")
    assert cases(capsys, "a.nii.gz", "--model", model, "-o", "first") == ["a"]
    assert cases(capsys, ".", "--model", model) == ["a", "deep/b"]
