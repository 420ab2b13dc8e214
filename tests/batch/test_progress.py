"""What a run says, on a terminal, in a file and to a log collector."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hirescam_cli.batch.events import CaseFinished, Event, Failure, Heartbeat, Notice, RunFinished, RunStarted
from hirescam_cli.batch.index import OutOfTimeError, guarded, write_index
from hirescam_cli.batch.progress import duration, reporter
from hirescam_cli.batch.transfer import pack, unpack
from hirescam_cli.case.document import dump
from hirescam_cli.case.record import CaseError, FailedCase, Label, MapEvidence, Peak
from hirescam_cli.errors import OutputCreateError, UsageError
from hirescam_cli.io.scan import Ignored
from hirescam_cli.warning import Warning
from tests.views import make_case

FAILURE = Failure("gzip-damaged", "read", "b.nii.gz ends early.", "Copy it again.")
EVENTS: list[Event] = [
    RunStarted(3, "0 of 2"),
    CaseFinished("a", "done", 1, 0, 0, 2, 1.25, warnings=(Warning("few-slices", "There are few."),)),
    Heartbeat(1, 0, 2, (("b", 31.0),)),
    CaseFinished("b", "failed", 1, 0, 1, 1, 2.0, FAILURE),
    Notice("bug", "c met a bug.", "Traceback: here"),
    CaseFinished("c", "skipped", 1, 1, 1, 0),
    RunFinished(1, 1, 1, 0, 125.0, 8),
]


def said(**options: Any) -> list[str]:
    stream = io.StringIO()
    with reporter(stream=stream, **options) as report:
        for event in EVENTS:
            report.event(event)
    return stream.getvalue().splitlines()


def test_lines_of_a_run() -> None:
    assert said() == [
        "3 scans to explain (part 0 of 2).",
        "[1/3] a done in 1.2 s, 1 warning",
        "  few-slices: There are few.",
        "1 done, 0 failed, 2 left; under way: b for 31 s.",
        "[2/3] b failed (gzip-damaged): b.nii.gz ends early. Copy it again.",
        "bug: c met a bug.",
        "[3/3] c already there",
        "1 done, 1 already there, 1 failed, 0 left in 2 min 05 s.",
    ]


def test_more_and_less_of_it() -> None:
    assert "Traceback: here" in said(verbose=1)
    assert [line for line in said(verbose=1) if line != "Traceback: here"] == said()
    assert said(quiet=True) == [said()[4], said()[7]]


def test_what_holds_for_the_model_is_not_said_again_with_every_case() -> None:
    model = Warning("demonstration-model", "It knows only phantoms.")
    own = Warning("a", "One."), Warning("b", "Two.")
    stream = io.StringIO()
    with reporter(stream=stream) as report:
        report.event(RunStarted(2))
        report.event(CaseFinished("x", "done", 1, 0, 0, 1, 3.0, warnings=(own[0], model, own[1])))
        report.event(CaseFinished("y", "done", 2, 0, 0, 0, 4.0, warnings=(model,)))
    assert stream.getvalue().splitlines()[1:] == [
        "[1/2] x done in 3.0 s, 2 warnings", "  a: One.", "  b: Two.", "[2/2] y done in 4.0 s",
    ]  # fmt: skip


def test_one_json_object_a_line() -> None:
    documents = [json.loads(line) for line in said(log_format="json")]
    assert [document["event"] for document in documents] == [
        "run-started", "case-finished", "heartbeat", "case-finished", "notice", "case-finished", "run-finished",
    ]  # fmt: skip
    failed = documents[3]
    assert (failed["case"], failed["failure"]["code"], failed["left"]) == ("b", "gzip-damaged", 1)
    assert failed["time"].endswith("+00:00")


def test_a_log_file_gets_everything(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    assert said(quiet=True, log_file=log) == said(quiet=True)
    said(quiet=True, log_file=log)
    lines = log.read_text().splitlines()
    assert len(lines) == 2 * 9
    assert lines[1].endswith(" [1/3] a done in 1.2 s, 1 warning")
    assert lines[1][:4].isdigit()
    assert "Traceback: here" in log.read_text()


def test_what_cannot_be_logged_to_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(
            OutputCreateError, match=r"^The log file run\.log cannot be created: No such"
        ) as caught,
        reporter(log_file=tmp_path / "no/run.log"),
    ):
        pass
    assert caught.value.exit_code == 73
    assert "--log-file" in str(caught.value.hint)
    with pytest.raises(UsageError), reporter(log_format="yaml"):
        pass


def test_warnings_and_what_is_left_out() -> None:
    stream = io.StringIO()
    with reporter(stream=stream) as report:
        report.warn(Warning("demonstration-model", "It knows only phantoms."))
        report.ignored(Ignored("x.txt", "not-an-image", "It is not an image."))
        report.ignored(Ignored("few", "few-slices", "few has 6 slices."))
    assert stream.getvalue().splitlines() == [
        "demonstration-model: It knows only phantoms.",
        "not-an-image: Left out: x.txt: It is not an image.",
        "few-slices: Left out: few has 6 slices.",
    ]


def test_a_closed_stream_does_not_end_a_run() -> None:
    stream = io.StringIO()
    with reporter(stream=stream) as report:
        stream.close()
        for event in EVENTS:
            report.event(event)


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_a_display(monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    ours, theirs = pty.openpty()
    seen: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                return
            if not data:
                return
            seen.append(data)

    listener = threading.Thread(target=listen)
    listener.start()
    with open(theirs, "w", encoding="utf-8") as terminal, reporter(stream=terminal) as report:
        for event in EVENTS:
            report.event(event)
    listener.join(timeout=5)
    os.close(ours)
    text = b"".join(seen).decode()
    assert "b failed (gzip-damaged): b.nii.gz ends early." in text
    assert "1 failed, 0 left" in text
    assert "[1/3] a done in 1.2 s, 1 warning" in text
    assert "  few-slices: There are few." in text
    assert "c already there" not in text
    assert ("\x1b[38;5" in text or "\x1b[3" in text.replace("\x1b[39m", "")) == colour


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.2, "4.2 s"), (59.94, "59.9 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_for_reading(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_fields_that_a_spreadsheet_would_run_are_guarded(start: str) -> None:
    assert guarded(f"{start}1+1") == f"'{start}1+1"
    assert guarded(f"a{start}1") == f"a{start}1"


BASE = make_case(labels=("=x",), methods=("gradcam",), shape_lps=(12, 10, 8), side=12, slices=12).view.case


def case(out: Path, name: str, **more: Any) -> None:
    (out / name).mkdir(parents=True)
    (out / name / "summary.json").write_bytes(dump(msgspec.structs.replace(BASE, case=name, **more)))


def failed_case(out: Path, name: str) -> None:
    (out / name).mkdir(parents=True)
    error = CaseError(code="x", stage="read", message="X.", hint=None)
    (out / name / "summary.json").write_bytes(
        dump(FailedCase(schema_version=2, case=name, started=None, error=error))
    )


def test_the_index_is_made_from_cases_only(tmp_path: Path) -> None:
    peak = Peak(value=0.5, index_ijk=None, world_mm=(-1.5, 2.0, 3.0))
    evidence = MapEvidence(
        sum=1.0, bias=-0.5, residual=0.25, complete=False, positive_sum=2.0, negative_sum=-1.0, padding_share=0.0,
        peak=peak,
    )  # fmt: skip
    label = msgspec.structs.replace(
        BASE.labels[0], logit=-1.5, probability=0.2, positive=False, maps={"gradcam": evidence}
    )
    case(tmp_path, "z", labels=(label,))
    failed_case(tmp_path, "a/b")
    case(tmp_path, ".z.hirescam-1-00000000.tmp")
    case(tmp_path, "z/inner")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/summary.json").write_text("{")
    document = write_index(tmp_path)
    assert [entry["case"] for entry in document["cases"]] == ["a/b", "broken", "z"]
    assert (document["counts"], document["run"]) == ({"ok": 1, "failed": 2}, None)
    assert document["cases"][1]["error"]["code"] == "summary-unreadable"
    assert json.loads((tmp_path / "batch.json").read_text()) == document
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    columns = (
        "case label index logit probability threshold positive gradcam_sum gradcam_bias gradcam_residual"
    )
    assert rows[0][:10] == columns.split()
    values = "z '=x 0 -1.5 0.2 0.5 false 1.0 -0.5 0.25 false 0.5"
    assert rows[1:] == [[*values.split(), "", "", "", "-1.5", "2.0", "3.0"]]
    assert len(rows[0]) == len(rows[1])


def test_the_table_has_columns_for_every_method_that_any_case_has(tmp_path: Path) -> None:
    def label(*methods: str) -> Label:
        peak = Peak(value=0.5, index_ijk=(1, 2, 3), world_mm=(-1.5, 2.0, 3.0))
        maps = {
            method: MapEvidence(
                sum=float(len(method)), bias=-0.5, residual=0.25, complete=True, positive_sum=2.0, negative_sum=-1.0,
                padding_share=0.0, peak=peak,
            )
            for method in methods
        }  # fmt: skip
        return msgspec.structs.replace(BASE.labels[0], maps=maps)

    case(tmp_path, "a", labels=(label("hirescam"),))
    case(tmp_path, "b", labels=(label("gradcam"),))
    case(tmp_path, "c", labels=(label("hirescam", "gradcam"),))
    write_index(tmp_path)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sums = [(row["case"], row["hirescam_sum"], row["gradcam_sum"]) for row in rows]
    assert sums == [("a", "8.0", ""), ("b", "", "7.0"), ("c", "8.0", "7.0")]
    assert {len(line.split(",")) for line in (tmp_path / "predictions.csv").read_text().splitlines()} == {29}


def test_an_index_waits_for_that_of_another_part(tmp_path: Path) -> None:
    case(tmp_path, "a")
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> float | None:
        begun.set()
        go_on.wait()
        return None

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(write_index, tmp_path, {"part": 0}, slow)
        begun.wait()
        case(tmp_path, "b")
        second = pool.submit(write_index, tmp_path, {"part": 1})
        with pytest.raises(TimeoutError):
            second.result(timeout=0.2)
        go_on.set()
        assert (first.result()["counts"], second.result()["counts"]) == (
            {"ok": 1, "failed": 0},
            {"ok": 2, "failed": 0},
        )
    assert json.loads((tmp_path / "batch.json").read_text())["counts"] == {"ok": 2, "failed": 0}


def test_an_index_that_would_take_too_long_leaves_the_old_one(tmp_path: Path) -> None:
    case(tmp_path, "a")
    (tmp_path / "batch.json").write_text("old")
    with pytest.raises(OutOfTimeError):
        write_index(tmp_path, None, lambda: 0.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hirescam.index.lock", "a", "batch.json"]
    assert (tmp_path / "batch.json").read_text() == "old"


def test_arrays_travel_between_processes_as_they_are() -> None:
    generator = np.random.default_rng(3)
    arrays = {
        "c": generator.normal(size=(3, 4, 5)).astype(np.float32),
        "f": np.asfortranarray(generator.integers(-9, 9, (4, 3)).astype(np.int16)),
        "strided": generator.normal(size=(8, 8))[::2, ::-1],
        "empty": np.zeros((0, 3)),
        "text": "a word",
    }
    descriptor, layout = pack(arrays)
    try:
        copy = unpack(descriptor, layout)
    finally:
        os.close(descriptor)
    for name in ("c", "f", "strided", "empty"):
        np.testing.assert_array_equal(copy[name], arrays[name])
        assert copy[name].dtype == np.asarray(arrays[name]).dtype
    copy["c"][:] = 0.0
    assert np.abs(arrays["c"]).max() > 0
    assert copy["text"] == "a word"
    assert layout.pickled[1] < 2000
