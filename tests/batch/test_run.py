"""Runs in this process with real reader processes: who fails, how it is said, and what the exit code is."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from hirescam_cli.api import explain
from hirescam_cli.batch.events import CaseFinished, Event, Notice, RunFinished, RunStarted
from hirescam_cli.batch.run import BatchResult
from tests.batch.run_world import go, make
from tests.batch.world import assert_whole, digest_tree, make_scans, tiny_settings


def codes(result: BatchResult) -> dict[str, str]:
    return {case: failure.code for case, failure in result.failures}


def test_every_case_is_done_and_said(tmp_path: Path, model: Path) -> None:
    events: list[Event] = []
    result = explain(
        make_scans(tmp_path / "in", 3),
        tmp_path / "out",
        settings=tiny_settings(model),
        on_progress=events.append,
    )
    assert (result.exit_code, result.done, result.failed, result.left, result.stopped) == (0, 3, 0, 0, None)
    assert result.cases == ("scan000", "scan001", "scan002")
    assert [type(event) for event in events] == [
        RunStarted,
        CaseFinished,
        CaseFinished,
        CaseFinished,
        RunFinished,
    ]
    assert [event.left for event in events if isinstance(event, CaseFinished)] == [2, 1, 0]
    assert_whole(tmp_path / "out")


@pytest.mark.parametrize("jobs", [0, 1, 3])
def test_the_number_of_readers_changes_nothing(tmp_path: Path, model: Path, jobs: int) -> None:
    inputs = make_scans(tmp_path / "in", 4)
    assert go(inputs, tmp_path / "one", model, jobs=1).exit_code == 0
    assert go(inputs, tmp_path / "out", model, jobs=jobs).exit_code == 0
    assert digest_tree(tmp_path / "out") == digest_tree(tmp_path / "one")


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_medium_that_fails_while_a_scan_is_read_costs_that_scan_alone(
    tmp_path: Path, model: Path, jobs: int
) -> None:
    """It is not the output that fails, so the run goes on."""
    result = go(make(tmp_path / "in", "a", "medium", "z"), tmp_path / "out", model, [], jobs=jobs)
    assert (result.done, result.failed, result.left, result.stopped) == (2, 1, 0, None)


def test_memory_that_is_missing_everywhere_is_not_bad_data(tmp_path: Path, model: Path) -> None:
    """With a scan that could be used the others count as failed; with none it is the machine, not the scans."""
    result = go(make(tmp_path / "in", "memory"), tmp_path / "out", model, [], jobs=1)
    assert (codes(result), result.exit_code) == ({"memory": "out-of-memory"}, 69)
    result = go(make(tmp_path / "more", "memory", "a"), tmp_path / "out2", model, [], jobs=1)
    assert (result.done, result.failed, result.exit_code) == (1, 1, 8)


def test_readers_that_crash_take_only_their_scan_along(tmp_path: Path, model: Path) -> None:
    inputs = make(tmp_path / "in", "a", "segfault", "b", "killed", "exit", "once", "memory", "bug", "c")
    events: list[Event] = []
    result = go(inputs, tmp_path / "out", model, events, jobs=2)
    assert codes(result) == {
        "segfault": "reader-crashed", "killed": "reader-crashed", "exit": "reader-crashed",
        "memory": "out-of-memory", "bug": "bug",
    }  # fmt: skip
    assert (result.done, result.failed, result.left, result.exit_code) == (4, 5, 0, 70)
    messages = {case: failure.message for case, failure in result.failures}
    assert "SIGSEGV" in messages["segfault"]
    assert "SIGKILL" in messages["killed"]
    assert "status 3" in messages["exit"]
    details = [event.detail for event in events if isinstance(event, Notice) and event.code == "bug"]
    assert len(details) == 1
    assert "KeyError: 'a bug'" in str(details[0])
    summary = json.loads((tmp_path / "out/segfault/summary.json").read_text())
    assert (summary["status"], summary["error"]["code"], summary["error"]["stage"]) == (
        "failed", "reader-crashed", "read",
    )  # fmt: skip
    assert_whole(tmp_path / "out")


def test_a_reader_that_hangs_is_ended_after_the_timeout(tmp_path: Path, model: Path) -> None:
    begin = time.monotonic()
    inputs = make(tmp_path / "in", "hang", "x", "y")
    result = go(inputs, tmp_path / "out", model, jobs=1, timeout=2.0)
    assert codes(result) == {"hang": "timeout"}
    assert (result.done, result.exit_code) == (2, 8)
    assert time.monotonic() - begin < 60


def test_failures_of_the_network_are_one_cases_failure(tmp_path: Path, model: Path) -> None:
    result = go(make(tmp_path / "in", "network-bug", "refused", "x"), tmp_path / "out", model, jobs=0)
    assert codes(result) == {"network-bug": "bug", "refused": "refused"}
    assert (result.done, result.exit_code) == (1, 70)


def test_a_lost_device_ends_the_run(tmp_path: Path, model: Path) -> None:
    result = go(make(tmp_path / "in", "a", "gone", "z"), tmp_path / "out", model, jobs=0)
    assert (result.done, result.failed, result.left, result.exit_code) == (1, 0, 2, 69)
    assert result.stopped == "device-lost"
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == ["a"]


def test_the_exit_code_says_whether_anything_could_be_used(tmp_path: Path, model: Path) -> None:
    inputs = make(tmp_path / "in", "damaged1", "damaged2")
    assert go(inputs, tmp_path / "out", model, jobs=0).exit_code == 65
    make(inputs, "x")
    assert go(inputs, tmp_path / "out", model, jobs=0).exit_code == 8
    assert go(inputs, tmp_path / "out", model, jobs=0).exit_code == 8
    for path in inputs.glob("damaged*"):
        path.unlink()
    assert go(inputs, tmp_path / "out", model, jobs=0).exit_code == 0


def test_the_run_ends_at_the_allowed_number_of_failures(tmp_path: Path, model: Path) -> None:
    inputs = make(tmp_path / "in", "damaged1", "damaged2", "x1", "x2")
    result = go(inputs, tmp_path / "out", model, jobs=0, max_failures=2)
    assert (result.failed, result.exit_code, result.stopped) == (2, 8, "max-failures")
    assert result.left >= 1
    for path in inputs.glob("x*"):
        path.unlink()
    result = go(inputs, tmp_path / "all", model, jobs=0, max_failures=2)
    assert (result.failed, result.left, result.exit_code, result.stopped) == (2, 0, 65, None)


def test_a_failed_case_is_tried_again(tmp_path: Path, model: Path) -> None:
    inputs = make(tmp_path / "in", "once", "x")
    broken = inputs / "once.nii.gz"
    sound = broken.read_bytes()
    broken.write_bytes(b"no image")
    assert codes(go(inputs, tmp_path / "out", model, jobs=1))["once"] != "reader-crashed"
    broken.write_bytes(sound)
    result = go(inputs, tmp_path / "out", model, jobs=1)
    assert (result.done, result.skipped, result.exit_code) == (1, 1, 0)
