"""What `render` and `report` leave: summary, files and page say the same, whatever was rendered when."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hirescam_cli.batch.lock import output_lock
from hirescam_cli.case.document import schema
from tests.batch.world import leftovers, make_model, make_scan, make_scans
from tests.cli.command import hirescam


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_model(folder / "model")
    make_scan(folder / "in" / "scan.nii.gz", shape=(40, 38, 30))
    return folder


def explained(capsys: pytest.CaptureFixture[str], world: Path, out: Path, *more: object) -> Path:
    result = hirescam(
        capsys, "explain", world / "in", "-o", out, "--model", world / "model" / "tiny.toml", "--jobs", 0,
        "--method", "hirescam,gradcam", "--labels", "all", *more,
    )  # fmt: skip
    assert result.code == 0, result.err
    return out / "scan"


def rendered(capsys: pytest.CaptureFixture[str], world: Path, case: Path, *more: object) -> None:
    result = hirescam(capsys, "render", case, "--scan", world / "in", "--labels", "all", *more)
    assert result.code == 0, result.err


def summary_of(case: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((case / "summary.json").read_text())
    jsonschema.validate(document, schema())
    names = {output["path"] for output in document["outputs"]}
    assert names == {p.name for p in case.iterdir()} - {"summary.json"}
    for output in document["outputs"]:
        data = (case / output["path"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (output["sha256"], output["bytes"])
    return document


def page_data(case: Path) -> dict[str, Any]:
    """What the page knows of the case."""
    text = (case / "report.html").read_text(encoding="utf-8")
    start = text.index(">", text.index('id="case-json"')) + 1
    document: dict[str, Any] = json.loads(text[start : text.index("</script>", start)])
    return document


def page_maps(case: Path) -> list[Any]:
    return [label["maps"] for label in page_data(case)["summary"]["labels"]]


def maps_of(document: dict[str, Any]) -> list[Any]:
    return [label["maps"] for label in document["labels"]]


def files_named(document: dict[str, Any]) -> set[str]:
    """The overlays and pictures of single maps under the case's own placement."""
    return {
        output["path"]
        for output in document["outputs"]
        if output["role"] in ("overlay", "picture")
        and output["label"]
        and output["method"]
        and output["placement"] == "stretch"
    }


def test_another_placement_takes_nothing_from_the_cases_own(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = explained(capsys, world, tmp_path / "out")
    before = summary_of(case)
    rendered(capsys, world, case, "--placement", "receptive-field")
    after = summary_of(case)
    assert files_named(after) == files_named(before)
    assert {"hirescam.mass.nii.gz", "hirescam.mass.receptive-field.nii.gz"} <= {
        output["path"] for output in after["outputs"]
    }
    assert after["placement"] == before["placement"]
    assert after["labels"] == before["labels"]


def test_one_method_takes_nothing_from_the_other(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = explained(capsys, world, tmp_path / "out", "--format", "nifti,html")
    before = summary_of(case)
    rendered(capsys, world, case, "--method", "gradcam", "--format", "nifti,html", "--grid", "both")
    assert set(summary_of(case)["labels"][0]["maps"]) == {"hirescam", "gradcam"}
    assert summary_of(case)["labels"] == before["labels"]
    assert page_maps(case) == maps_of(before)
    assert [drawn["method"] for drawn in page_data(case)["maps"]] == ["hirescam", "gradcam"]


def test_the_page_follows_what_is_rendered_later(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = explained(capsys, world, tmp_path / "out", "--format", "html")
    assert files_named(summary_of(case)) == set()
    rendered(capsys, world, case)
    assert page_maps(case) == maps_of(summary_of(case))
    assert len(files_named(summary_of(case))) == 8


def test_unchanged_files_are_neither_copied_nor_hashed(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = explained(capsys, world, tmp_path / "out", "--format", "nifti")
    before = {path.name: path.stat().st_ino for path in case.iterdir()}
    read_back: list[str] = []
    from hirescam_cli.results import write

    original = write.read_back
    monkeypatch.setattr(write, "read_back", lambda path: read_back.append(path.name) or original(path))  # type: ignore[func-returns-value]
    rendered(capsys, world, case, "--format", "png")
    after = {path.name: path.stat().st_ino for path in case.iterdir()}
    kept = set(before) - {"summary.json"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert not set(read_back) & kept
    summary_of(case)


def test_without_second_names_files_are_copied(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = explained(capsys, world, tmp_path / "out", "--format", "nifti")

    def no_links(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    rendered(capsys, world, case, "--format", "png")
    summary_of(case)


def test_rewriting_an_overlay_does_not_touch_the_published_one(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file under a second name is the same file: what is made anew must be another."""
    case = explained(capsys, world, tmp_path / "out")
    held = (case / "hirescam.mass.png").open("rb")
    old = (case / "hirescam.mass.png").read_bytes()
    rendered(capsys, world, case, "--format", "png", "--cells")
    assert held.read() == old != (case / "hirescam.mass.png").read_bytes()
    held.close()


@pytest.mark.parametrize("command", ["render", "report"])
def test_a_run_at_work_is_not_disturbed(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    case = explained(capsys, world, tmp_path / "out", "--format", "nifti")
    arguments = [case] if command == "render" else [tmp_path / "out"]
    with output_lock(tmp_path / "out", None):
        result = hirescam(capsys, command, *arguments, "--scan", world / "in")
    assert result.code == 73
    assert "Another run of hirescam is writing" in result.err


@pytest.mark.parametrize("command", ["render", "report"])
def test_what_a_killed_rendering_left_is_cleared_away(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    case = explained(capsys, world, tmp_path / "out", "--format", "nifti")
    left = tmp_path / "out" / ".scan.hirescam-99999-0123abcd.tmp"
    left.mkdir()
    (left / "half.png").write_bytes(b"half")
    arguments = [case] if command == "render" else [tmp_path / "out"]
    assert hirescam(capsys, command, *arguments, "--scan", world / "in").code == 0
    assert leftovers(tmp_path / "out") == []


def test_report_keeps_what_batch_json_tells_of_the_run(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explained(capsys, world, tmp_path / "out", "--format", "nifti")
    before = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert before["run"]["done"] == 1
    assert hirescam(capsys, "report", tmp_path / "out", "--index").code == 0
    assert json.loads((tmp_path / "out" / "batch.json").read_text())["run"] == before["run"]


def test_every_table_tells_of_the_same_cases(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of one whose summary is damaged; not of what is being written, nor of other people's files."""
    inputs, out = make_scans(tmp_path / "in", 3), tmp_path / "out"
    model = world / "model" / "tiny.toml"
    assert (
        hirescam(
            capsys, "explain", inputs, "-o", out, "--model", model, "--jobs", 0, "--format", "nifti"
        ).code
        == 0
    )
    (out / "scan001" / "summary.json").write_text("{damaged")
    for foreign in ("other", ".scan000.hirescam-1-00000000.tmp"):
        (out / foreign).mkdir()
        (out / foreign / "summary.json").write_text("{}")
    assert hirescam(capsys, "report", out, "--index").code == 0
    batch = json.loads((out / "batch.json").read_text())
    assert [(case["case"], case["status"]) for case in batch["cases"]] == [
        ("scan000", "ok"), ("scan001", "failed"), ("scan002", "ok"),
    ]  # fmt: skip
    assert batch["cases"][1]["error"]["code"] == "summary-unreadable"
    log = [json.loads(line)["case"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert log == ["scan000", "scan001", "scan002"]
    index = (out / "index.html").read_text(encoding="utf-8")
    start = index.index(">", index.index('id="index-json"')) + 1
    rows = json.loads(index[start : index.index("</script>", start)])["rows"]
    assert [row["case"] for row in rows] == log
    table = (out / "predictions.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in table[1:]} == {"scan000", "scan002"}
