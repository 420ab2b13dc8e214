"""Runs over what an earlier run left, in parts, ended from outside, and their index."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hirescam_cli import pipeline
from hirescam_cli.api import explain
from hirescam_cli.batch import RunOptions, plan, reader_process, tally
from hirescam_cli.batch.events import CaseFinished, Event, Heartbeat
from hirescam_cli.batch.run import run
from hirescam_cli.batch.signals import Interruption
from hirescam_cli.batch.stages import STAGES
from hirescam_cli.errors import ModelError, OutputCreateError, UsageError
from hirescam_cli.io import InputPath, ReadOptions, discover
from tests.batch.run_world import go, make
from tests.batch.troubled import STEADY, STEP
from tests.batch.world import assert_whole, digest_tree, make_model, make_scan, make_scans, tiny_settings


def test_a_changed_input_or_a_damaged_output_is_made_again(tmp_path: Path, model: Path) -> None:
    inputs, out = make(tmp_path / "in", "a", "b", "c", "d"), tmp_path / "out"
    assert go(inputs, out, model, jobs=0).done == 4
    undisturbed = digest_tree(out)
    make_scan(inputs / "a.nii.gz", 77)
    (out / "b/hirescam.cams.nii.gz").unlink()
    with (out / "c/hirescam.cams.nii.gz").open("ab") as file:
        file.write(b"more")
    flipped = bytearray((out / "d/hirescam.cams.nii.gz").read_bytes())
    flipped[-1] ^= 1
    (out / "d/hirescam.cams.nii.gz").write_bytes(flipped)
    events: list[Event] = []
    result = go(inputs, out, model, events, jobs=0)
    assert {e.case: e.status for e in events if isinstance(e, CaseFinished)} == {
        "a": "done", "b": "done", "c": "done", "d": "skipped",
    }  # fmt: skip
    assert go(inputs, out, model, jobs=0, verify=True).done == 1
    assert result.exit_code == 0
    changed = {name for name, digest in digest_tree(out).items() if undisturbed.get(name) != digest}
    assert {name.split("/")[0] for name in changed} == {"a", "predictions.csv"}
    assert_whole(out)


def test_other_options_are_refused_and_named(tmp_path: Path, model: Path) -> None:
    inputs, out = make_scans(tmp_path / "in", 2), tmp_path / "out"
    explain(inputs, out, settings=tiny_settings(model))
    before = digest_tree(out)
    with pytest.raises(UsageError, match="--placement was stretch and is receptive-field") as caught:
        explain(inputs, out, settings=tiny_settings(model, placement="receptive-field"))
    assert caught.value.code == "options-changed"
    assert "overwrite" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"--weights was [0-9a-f]{12}\.\.\. and is"):
        explain(inputs, out, settings=tiny_settings(make_model(tmp_path / "other", seed=1)))
    for option, more in (
        ("--method was ..hirescam.. and is ..gradcam..", {"methods": ("gradcam",)}),
        ("--threshold was not given and is 0.25", {"threshold": 0.25}),
        ("--labels was positive and is all", {"labels": "all"}),
        (
            "--grid was not given and is both; --signed was false and is true",
            {"grid": "both", "signed": True},
        ),
        ("--prefer was not given and is qform", {"read": ReadOptions(prefer="qform")}),
    ):
        with pytest.raises(UsageError, match=f"run with other options: {option}") as caught:
            explain(inputs, out, settings=tiny_settings(model, **more))
        assert caught.value.message.count(" was ") == 1 + option.count("; ")
    assert digest_tree(out) == before
    settings = tiny_settings(model, placement="receptive-field")
    assert explain(inputs, out, settings=settings, options=RunOptions(existing="overwrite")).done == 2
    assert digest_tree(out) != before


def test_existing_cases_can_be_an_error(tmp_path: Path, model: Path) -> None:
    inputs, out = make_scans(tmp_path / "in", 2), tmp_path / "out"
    assert go(inputs, out, model, jobs=0, existing="error").done == 2
    with pytest.raises(OutputCreateError, match="already holds the case scan000") as caught:
        go(inputs, out, model, jobs=0, existing="error")
    assert caught.value.exit_code == 73


def test_a_refused_model_leaves_no_trace(tmp_path: Path, model: Path) -> None:
    inputs = make_scans(tmp_path / "in", 1)
    settings = tiny_settings(model, weights=(tmp_path / "in" / "scan000.nii.gz",))
    with pytest.raises(ModelError):
        explain(inputs, tmp_path / "out", settings=settings)
    assert not (tmp_path / "out").exists()


def test_parts_share_an_output_and_own_different_cases(tmp_path: Path, model: Path) -> None:
    inputs, out = make_scans(tmp_path / "in", 5), tmp_path / "out"
    settings, options = tiny_settings(model), RunOptions(jobs=0)
    first = explain(inputs, out, settings=settings, options=options, num_parts=2, part_id=0)
    second = explain(inputs, out, settings=settings, options=options, num_parts=2, part_id=1)
    assert (first.cases, second.cases) == (("scan000", "scan002", "scan004"), ("scan001", "scan003"))
    assert explain(inputs, tmp_path / "whole", settings=settings, options=options).done == 5
    assert digest_tree(out) == digest_tree(tmp_path / "whole")


def test_another_thread_may_ask_for_the_end(tmp_path: Path, model: Path) -> None:
    interruption, events = Interruption(), []

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, CaseFinished):
            interruption.request()

    result = explain(
        make_scans(tmp_path / "in", 20), tmp_path / "out", settings=tiny_settings(model), on_progress=watch,
        options=RunOptions(jobs=1), interruption=interruption,
    )  # fmt: skip
    assert 1 <= result.done < 20
    assert (result.stopped, result.exit_code) == ("interrupted", 0)
    assert result.left == 20 - result.done
    assert len(result.document["cases"] if result.document else []) == result.done


def test_a_sign_of_life_names_what_is_under_way(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr(tally, "_LISTEN_SECONDS", 0.05)
    events: list[Event] = []
    go(make(tmp_path / "in", "slow"), tmp_path / "out", model, events, jobs=1)
    beats = [event for event in events if isinstance(event, Heartbeat)]
    assert beats
    assert any(case == "slow" for beat in beats for case, _ in beat.current)


def slow_write(*args: Any) -> Any:
    """Write a case slowly."""
    time.sleep(0.8)
    return pipeline.write_case(*args)


def test_a_sign_of_life_names_the_case_being_written(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(tally, "_LISTEN_SECONDS", 0.05)
    events: list[Event] = []
    found = discover([InputPath(make(tmp_path / "in", "only"))], ReadOptions())
    stages = replace(STAGES, write_case=slow_write)
    run(plan(found, tmp_path / "out"), tiny_settings(model), RunOptions(jobs=0), events.append, stages=stages)
    seconds = [
        dict(event.current)["only"] for event in events if isinstance(event, Heartbeat) if event.current
    ]
    assert 0.2 <= seconds[-1] <= 5.0
    # On a busy machine there are signs of life of the stages before too, whose time is another.
    written = [seconds[-1]]
    for earlier in reversed(seconds[:-1]):
        if earlier >= written[0]:
            break
        written.insert(0, earlier)
    assert len(written) >= 2


def test_a_run_ends_no_threads_or_processes_behind(tmp_path: Path, model: Path) -> None:
    go(make_scans(tmp_path / "in", 2), tmp_path / "out", model, jobs=2)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("hirescam")] == []


def test_the_index_lists_every_case_and_label(tmp_path: Path, model: Path) -> None:
    inputs = make(tmp_path / "in", "=cmd", "x/-2", "memory")
    result = go(inputs, tmp_path / "out", model, jobs=0)
    document = json.loads((tmp_path / "out/batch.json").read_text())
    assert document == result.document
    assert document["counts"] == {"ok": 2, "failed": 1}
    assert [(case["case"], case["status"]) for case in document["cases"]] == [
        ("=cmd", "ok"), ("memory", "failed"), ("x/-2", "ok"),
    ]  # fmt: skip
    assert document["cases"][1]["error"]["code"] == "out-of-memory"
    failure = json.loads((tmp_path / "out/memory/summary.json").read_text())
    assert document["cases"][1]["seconds"] == failure["run"]["seconds"]["total"]
    assert 0.0 < failure["run"]["seconds"]["total"] <= result.seconds
    lines = (tmp_path / "out/log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == document["cases"]
    with (tmp_path / "out/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["label"]) for row in rows] == [
        ("'=cmd", "nodule"), ("'=cmd", "mass"), ("x/-2", "nodule"), ("x/-2", "mass"),
    ]  # fmt: skip
    summary = json.loads((tmp_path / "out/=cmd/summary.json").read_text())
    assert float(rows[1]["logit"]) == summary["labels"][1]["logit"]
    assert (
        float(rows[1]["hirescam_peak_z_mm"])
        == summary["labels"][1]["maps"]["hirescam"]["peak"]["world_mm"][2]
    )


def test_a_folder_of_the_users_is_found_before_any_scan_is_read(tmp_path: Path, model: Path) -> None:
    inputs, out = make(tmp_path / "in", "a", "thesis"), tmp_path / "out"
    (out / "thesis").mkdir(parents=True)
    (out / "thesis/chapter.tex").write_text("years")
    for existing in ("skip", "overwrite"):
        with pytest.raises(OutputCreateError, match="something named thesis"):
            go(inputs, out, model, jobs=0, existing=existing)
    assert sorted(path.name for path in out.iterdir()) == [".hirescam.lock", "thesis"]


def test_readers_that_cannot_start_end_the_run(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_process, "_MAIN", "raise SystemExit(4)")
    result = go(make_scans(tmp_path / "in", 2), tmp_path / "out", model, jobs=1)
    assert (result.done, result.failed, result.left, result.exit_code) == (0, 0, 2, 70)
    assert result.stopped == "readers"


READER = """
import sys
from pathlib import Path
from hirescam_cli.batch import worker, stages
from hirescam_cli.io.scan import Scan
from hirescam_cli.model.spec import load_spec
from hirescam_cli.settings import Settings
path = Path(sys.argv[1])
scan = Scan(kind="nifti", case="a", name="a", files=(path,), root=path)
settings = Settings(model=sys.argv[2])
reading = worker.Reading(stages.STAGES.read_case, stages.STAGES.fingerprint, stages.STAGES.fingerprint_of,
                         load_spec(sys.argv[2]), settings)
prepared = worker.perform(reading, worker.Task(scan))
assert prepared.model_input.array_ijk.shape == (3, 420, 420)
print(sorted(set(sys.modules) & {"torch", "matplotlib", "dask", "distributed", "rich"}))
"""


def test_readers_load_no_network(tmp_path: Path, model: Path) -> None:
    scan = make_scan(tmp_path / "a.nii.gz")
    command = [sys.executable, "-c", READER, str(scan), str(model)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"


def test_reading_and_writing_go_on_while_the_network_works(tmp_path: Path, model: Path) -> None:
    times: list[tuple[float, Event]] = []
    found = discover([InputPath(make_scans(tmp_path / "in", 10))], ReadOptions())
    run(
        plan(found, tmp_path / "out"), tiny_settings(model), RunOptions(jobs=1),
        lambda event: times.append((time.monotonic(), event)), stages=STEADY,
    )  # fmt: skip
    finished = [when for when, event in times if isinstance(event, CaseFinished)]
    one_after_the_other = 3 * STEP * 9
    assert finished[-1] - finished[0] < 0.6 * one_after_the_other


def test_an_end_asked_for_while_the_model_loads_is_heard(tmp_path: Path, model: Path) -> None:
    interruption = Interruption()
    interruption.request()
    for jobs in (0, 1):
        result = explain(
            make_scans(tmp_path / "in", 3), tmp_path / "out", settings=tiny_settings(model),
            options=RunOptions(jobs=jobs), interruption=interruption,
        )  # fmt: skip
        assert (result.done, result.left, result.stopped) == (0, 3, "interrupted")
