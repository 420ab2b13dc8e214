"""Standard streams that are closed, whose reader has gone, or whose encoding lacks a letter: real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch.world import ROOT, make_model, make_scan

LOST = "Standard output was closed before all was printed."
EXPLAIN = ("explain", "scans", "-o", "out", "--model", "model/tiny.toml", "--format", "nifti", "--jobs", "0")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, two scans and, in `finished`, their cases."""
    folder = tmp_path_factory.mktemp("world")
    make_model(folder / "model")
    for number, name in enumerate(("scan", "Thorax-é")):
        make_scan(folder / "scans" / f"{name}.nii.gz", number)
    done = shell(folder, '"$@" > run.json', *EXPLAIN, "-o", "finished", "--json")
    assert done.returncode == 0, done.stderr
    return folder


def shell(folder: Path, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`script` in bash, where "$@" is hirescam with `arguments`."""
    command = ["bash", "-o", "pipefail", "-c", script, "-", sys.executable, "-m", "hirescam_cli", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, check=False, timeout=120,
        encoding=environ.get("PYTHONIOENCODING", "utf-8"),
    )  # fmt: skip


def cases_in(out: Path) -> list[str]:
    """The cases that a run left below `out`."""
    return [case["case"] for case in json.loads((out / "batch.json").read_text())["cases"]]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("--help",),
        ("explain", "--help"),
        ("model", "list"),
        ("model", "list", "--json"),
        ("inspect", "scans"),
        ("inspect", "scans", "--json"),
        ("render", "finished/scan", "--scan", "scans", "--format", "nifti"),
        ("report", "finished", "--index"),
        (*EXPLAIN, "-o", "finished", "--json", "-q"),
        (*EXPLAIN, "-o", "finished"),
    ],
    ids=" ".join,
)
def test_a_reader_that_has_gone_is_said_and_ends_with_74(world: Path, arguments: tuple[str, ...]) -> None:
    # The pipe's other end is closed before the command begins.
    done = shell(world, '{ sleep 0.2; "$@"; } | true', *arguments)
    assert (done.returncode, done.stdout) == (74, "")
    assert LOST in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("arguments", [(*EXPLAIN, "--json"), EXPLAIN], ids=["json", "table"])
def test_with_standard_output_closed_the_work_is_done_and_the_loss_said(
    world: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = shell(world, '"$@" >&-', *arguments, "-o", str(tmp_path / "out"), "-v")
    assert done.returncode == 74
    assert LOST in done.stderr
    assert len(cases_in(tmp_path / "out")) == 2


def test_with_standard_output_closed_nothing_is_lost_where_nothing_is_to_be_printed(
    world: Path, tmp_path: Path
) -> None:
    done = shell(world, '"$@" >&-', *EXPLAIN, "-o", str(tmp_path / "out"), "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(cases_in(tmp_path / "out")) == 2


def test_inspect_says_that_standard_output_is_closed(world: Path) -> None:
    done = shell(world, '"$@" >&-', "inspect", "scans", "--json")
    assert (done.returncode, LOST in done.stderr) == (74, True)


@pytest.mark.parametrize("more", [(), ("--jobs", "1"), ("--log-format", "json")], ids=" ".join)
def test_with_standard_error_closed_all_is_done_and_told(
    world: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    done = shell(world, '"$@" 2>&-', *EXPLAIN, "-o", str(tmp_path / "out"), "--json", *more)
    assert (done.returncode, done.stderr) == (0, "")
    assert [case["status"] for case in json.loads(done.stdout)["cases"]] == ["ok", "ok"]


def test_with_all_streams_closed_files_are_what_they_are(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = shell(world, '"$@" <&- >&- 2>&-', *EXPLAIN, "-o", str(out), "--log-file", str(tmp_path / "log"))
    assert (done.returncode, done.stdout, done.stderr) == (74, "", "")
    assert len(cases_in(out)) == 2
    assert (out / ".hirescam.lock").read_bytes() == b""
    assert "2 done" in (tmp_path / "log").read_text()


def test_a_closed_standard_input_is_an_empty_list(world: Path) -> None:
    done = shell(world, '"$@" <&-', "explain", "-")
    assert (done.returncode, "The list on standard input is empty" in done.stderr) == (66, True)


def test_a_full_disk_under_standard_output_is_a_write_error(world: Path) -> None:
    done = shell(world, '"$@" > /dev/full', "model", "list", "--json")
    assert (done.returncode, "No space left on device" in done.stderr) == (74, True)


@pytest.mark.parametrize(
    "arguments", [(*EXPLAIN, "-o", "finished", "--json"), ("inspect", "scans", "--json")], ids=["explain", "inspect"]
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_whole_in_any_encoding(world: Path, encoding: str, arguments: tuple[str, ...]) -> None:
    done = shell(world, '"$@" > told.json', *arguments, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    text = (world / "told.json").read_bytes().decode(encoding)
    document = json.loads(text)
    assert {case["case"] for case in document.get("cases") or document["scans"]} == {"scan", "Thorax-é"}
    assert ("é" in text) is (encoding != "ascii")


def test_tables_and_messages_escape_what_the_encoding_lacks(world: Path) -> None:
    done = shell(world, '"$@"', *EXPLAIN, "-o", "finished", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Thorax-\\xe9" in done.stdout
    assert "Thorax-\\xe9 already there" in done.stderr
    lines = shell(world, '"$@"', *EXPLAIN, "-o", "finished", "--log-format", "json", PYTHONIOENCODING="ascii")
    events = [json.loads(line) for line in lines.stderr.splitlines()]
    assert {event["case"] for event in events if event["event"] == "case-finished"} == {"scan", "Thorax-é"}


def test_scans_are_called_as_they_are_in_a_locale_without_their_letters(world: Path, tmp_path: Path) -> None:
    done = shell(
        world, '"$@"', *EXPLAIN, "-o", str(tmp_path / "out"), "--jobs", "1",
        LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(cases_in(tmp_path / "out")) == ["Thorax-é", "scan"]
    assert "Thorax-\\xe9" in done.stdout
