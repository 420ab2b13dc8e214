"""Signals and locks, on real processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from hirescam_cli.batch import RunOptions, signals
from hirescam_cli.batch.events import CaseFinished, Event
from hirescam_cli.batch.lock import LOCK, output_lock
from hirescam_cli.batch.plan import Part, plan
from hirescam_cli.batch.run import run
from hirescam_cli.batch.signals import Dropped, Interruption
from hirescam_cli.errors import OutputCreateError
from hirescam_cli.io import InputPath, ReadOptions, discover
from tests.batch.world import (
    assert_whole,
    complete,
    digest_tree,
    events_of,
    leftovers,
    make_scan,
    make_scans,
    start,
    tiny_settings,
)


def until(child: subprocess.Popen[str], event: str, count: int = 1) -> list[dict[str, Any]]:
    """Read the child's events until it has said `event` that often."""
    assert child.stderr is not None
    seen: list[dict[str, Any]] = []
    while sum(item["event"] == event for item in seen) < count:
        line = child.stderr.readline()
        assert line, seen
        seen.append(json.loads(line))
    return seen


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_ends_the_run_in_order(
    tmp_path: Path, model: Path, number: signal.Signals, code: int
) -> None:
    inputs, out = make_scans(tmp_path / "in", 60), tmp_path / "out"
    child = start(inputs, out, model, options={"jobs": 1})
    until(child, "case-finished", 3)
    begin = time.monotonic()
    child.send_signal(number)
    events = events_of(child.communicate(timeout=30)[1])
    assert child.returncode == code
    assert time.monotonic() - begin < 30
    end = events[-1]
    assert (end["event"], end["stopped"], end["exit_code"]) == ("run-finished", "interrupted", code)
    assert 3 <= end["done"] < 60
    assert end["done"] + end["left"] == 60
    assert_whole(out)
    assert leftovers(out) == []
    document = json.loads((out / "batch.json").read_text())
    assert len(document["cases"]) == end["done"]
    assert document["run"]["exit_code"] == code


def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path, model: Path) -> None:
    inputs, out = make_scans(tmp_path / "in", 12), tmp_path / "out"
    child = start(inputs, out, model, options={"jobs": 1})
    until(child, "case-finished", 2)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    code, events = complete(inputs, out, model)
    assert code == 0
    assert events[-1]["skipped"] >= 2
    assert complete(inputs, tmp_path / "whole", model)[0] == 0
    assert digest_tree(out) == digest_tree(tmp_path / "whole")


def test_a_case_that_would_take_too_long_is_dropped(tmp_path: Path, model: Path) -> None:
    make_scan(tmp_path / "in/long.nii.gz")
    child = start(tmp_path / "in", tmp_path / "out", model, trouble=True, grace=0.5)
    until(child, "run-started")
    time.sleep(2.0)
    begin = time.monotonic()
    child.send_signal(signal.SIGTERM)
    events = events_of(child.communicate(timeout=30)[1])
    assert child.returncode == 143
    assert 0.4 < time.monotonic() - begin < 25
    assert (events[-1]["done"], events[-1]["failed"], events[-1]["left"]) == (0, 0, 1)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == []


def test_the_second_signal_ends_at_once(tmp_path: Path, model: Path) -> None:
    make_scan(tmp_path / "in/long.nii.gz")
    child = start(tmp_path / "in", tmp_path / "out", model, trouble=True)
    until(child, "run-started")
    time.sleep(2.0)
    child.send_signal(signal.SIGINT)
    assert until(child, "notice")[-1]["code"] == "ending"
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode in (-signal.SIGINT, 130)
    assert time.monotonic() - begin < 5.0


def test_readers_end_with_the_run_that_is_killed(tmp_path: Path, model: Path) -> None:
    make_scan(tmp_path / "in/hang.nii.gz")
    child = start(tmp_path / "in", tmp_path / "out", model, trouble=True, options={"jobs": 1})
    until(child, "run-started")
    time.sleep(1.0)
    readers = psutil.Process(child.pid).children()
    assert len(readers) == 1
    child.kill()
    child.communicate(timeout=30)
    assert psutil.wait_procs(readers, timeout=5)[1] == []


def test_handlers_and_timer_are_given_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    interruption = Interruption()
    with interruption.installed():
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested.wait(2)
        assert interruption.number == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert 0 < (interruption.remaining() or 0) <= signals.LIMIT_SECONDS
    assert {number: signal.getsignal(number) for number in before} == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_only_what_may_be_dropped_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.1)
    interruption = Interruption()
    with interruption.installed():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Dropped), interruption.droppable():
            time.sleep(5)


def test_of_two_runs_on_one_output_the_second_ends_with_a_message(tmp_path: Path, model: Path) -> None:
    make_scan(tmp_path / "in/long.nii.gz")
    first = start(tmp_path / "in", tmp_path / "out", model, trouble=True)
    until(first, "run-started")
    code, events = complete(tmp_path / "in", tmp_path / "out", model)
    assert code == 73
    assert events == [{"event": "refused", "code": "output-locked", "message": events[0]["message"]}]
    assert "Another run of hirescam is writing to this output folder." in events[0]["message"]
    first.kill()
    first.communicate(timeout=30)
    assert complete(tmp_path / "in", tmp_path / "out", model)[0] == 0


PART0, PART1, OTHER = Part(0, 2), Part(1, 2), Part(0, 3)


@pytest.mark.parametrize(
    ("held", "wanted", "ok"),
    [
        (None, None, False), (None, PART0, False), (PART0, None, False),
        (PART0, PART0, False), (PART0, PART1, True), (PART0, OTHER, False),
    ],
)  # fmt: skip
def test_who_may_share_an_output(tmp_path: Path, held: Part | None, wanted: Part | None, ok: bool) -> None:
    with output_lock(tmp_path / "out", held) as locked:
        assert locked
        if ok:
            with output_lock(tmp_path / "out", wanted) as second:
                assert second
        else:
            with pytest.raises(OutputCreateError) as caught, output_lock(tmp_path / "out", wanted):
                pass
            assert caught.value.code == "output-locked"
            assert caught.value.exit_code == 73
    with output_lock(tmp_path / "out", wanted) as free:
        assert free


def test_a_division_may_change_once_the_others_have_ended(tmp_path: Path) -> None:
    for part in (PART0, OTHER, PART1):
        with output_lock(tmp_path, part) as locked:
            assert locked
        assert (tmp_path / LOCK).read_text() == str(part.count)


def test_an_output_that_cannot_be_written_to_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "out" / LOCK).mkdir(parents=True)
    with pytest.raises(OutputCreateError) as caught, output_lock(tmp_path / "out", None):
        pass
    assert caught.value.message == "The output folder out cannot be written to: Is a directory."
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputCreateError, match="cannot be created"),
        output_lock(tmp_path / "file/out", None),
    ):
        pass


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here(_descriptor: int, _kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none_here)
    for part in (None, PART0):
        with output_lock(tmp_path, part) as locked:
            assert not locked


def test_a_signal_while_the_main_thread_waits_for_it_does_not_block() -> None:
    """The handler runs in the thread that waits: with an Event it could wait for its own lock."""
    interruption = Interruption()
    before = signal.getsignal(signal.SIGTERM)
    with interruption.installed():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert interruption.requested.wait(5.0)
        assert interruption.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_raising_the_flag_takes_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object, **__: object) -> None:
        raise AssertionError("a signal handler must not take a lock")

    interruption = Interruption()
    monkeypatch.setattr(threading, "Lock", locked)
    monkeypatch.setattr(threading, "Condition", locked)
    interruption.request()
    assert interruption.requested.wait(0.0)
    assert not any(isinstance(value, threading.Event) for value in vars(interruption).values())


@pytest.mark.parametrize(("at", "code", "stopped"), [(0, 0, None), (7, 143, "interrupted")])
def test_a_signal_when_all_is_done_takes_nothing_back(
    tmp_path: Path, model: Path, at: int, code: int, stopped: str | None
) -> None:
    """SIGTERM arrives when `at` of eight cases are left: with none left, done is done."""
    inputs = make_scans(tmp_path / "in", 8)
    cases = plan(discover([InputPath(inputs)], ReadOptions()), tmp_path / "out")

    def struck(event: Event) -> None:
        if isinstance(event, CaseFinished) and event.left == at:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)

    result = run(cases, tiny_settings(model), RunOptions(jobs=0, handle_signals=True), struck)
    assert (result.left > 0, result.exit_code, result.stopped) == (at > 0, code, stopped)
    assert json.loads((tmp_path / "out" / "batch.json").read_text())["run"]["exit_code"] == code
    assert_whole(tmp_path / "out")
