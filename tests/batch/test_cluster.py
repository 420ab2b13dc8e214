"""Runs on real Dask clusters of worker processes on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hirescam_cli.batch import RunOptions, plan, scheduler
from hirescam_cli.batch.events import CaseFinished, Event, Notice
from hirescam_cli.batch.run import BatchResult, run
from hirescam_cli.batch.signals import Interruption
from hirescam_cli.errors import ModelError, UnavailableError, UsageError
from hirescam_cli.io import InputPath, ReadOptions, discover
from tests.batch.troubled import TROUBLED
from tests.batch.world import (
    ROOT,
    assert_whole,
    digest_tree,
    leftovers,
    make_scan,
    make_scans,
    tiny_settings,
)

pytest.importorskip("distributed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def processes(*commands: list[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Child processes that end with the context."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait(timeout=20)


@contextmanager
def dask_cluster(*worker_options: str) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two worker processes: the address and the three processes."""
    address = f"tcp://127.0.0.1:{free_port()}"
    dask = [sys.executable, "-m", "dask"]
    scheduler = [
        *dask,
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        address.rpartition(":")[2],
        "--no-dashboard",
    ]
    worker = [*dask, "worker", address, "--nthreads", "2", "--no-dashboard", *worker_options]
    with processes(scheduler, worker, worker) as started:
        yield address, started


def go(
    inputs: Path,
    out: Path,
    model: Path,
    events: list[Event] | None = None,
    settings: Any = None,
    **options: Any,
) -> BatchResult:
    keep = [] if events is None else events
    cases = plan(discover([InputPath(inputs)], ReadOptions()), out)
    stages, interruption = TROUBLED, options.pop("interruption", None)
    return run(
        cases, settings or tiny_settings(model), RunOptions(**options), keep.append,
        stages=stages, interruption=interruption,
    )  # fmt: skip


def scans_with_pauses(folder: Path) -> Path:
    """Eight scans, four of which take a while to read: something is under way when a process is killed."""
    for number in range(4):
        make_scan(folder / f"pause{number}.nii.gz", 50 + number)
    return make_scans(folder, 4)


def test_a_worker_that_is_killed_costs_no_case(tmp_path: Path, model: Path) -> None:
    inputs = scans_with_pauses(tmp_path / "in")
    events: list[Event] = []
    with dask_cluster("--no-nanny") as (address, (_, *workers)):
        killer = threading.Thread(target=kill_when_busy, args=(events, workers[0]))
        killer.start()
        result = go(inputs, tmp_path / "out", model, events, scheduler=address)
        killer.join()
        assert workers[0].wait(timeout=5) == -signal.SIGKILL
    assert (result.done, result.failed, result.left, result.exit_code) == (8, 0, 0, 0)
    finished = [event.case for event in events if isinstance(event, CaseFinished)]
    assert len(finished) == len(set(finished)) == 8
    assert_whole(tmp_path / "out")
    assert go(inputs, tmp_path / "alone", model, jobs=0).exit_code == 0
    assert digest_tree(tmp_path / "out") == digest_tree(tmp_path / "alone")


def kill_when_busy(events: list[Event], worker: subprocess.Popen[bytes]) -> None:
    """Kill a worker while it has a scan under way: after the first cases, in one that pauses."""
    while not any(isinstance(event, CaseFinished) for event in list(events)):
        time.sleep(0.02)
    time.sleep(0.3)
    worker.kill()


@pytest.mark.slow
def test_a_scan_that_kills_its_workers_is_set_aside(tmp_path: Path, model: Path) -> None:
    inputs = make_scans(tmp_path / "in", 3)
    make_scan(inputs / "poison.nii.gz")
    make_scan(inputs / "segfault.nii.gz")
    result = go(inputs, tmp_path / "out", model, scheduler="local", jobs=1)
    codes = {case: failure.code for case, failure in result.failures}
    assert codes.pop("segfault") == "reader-crashed"
    assert codes.pop("poison") == "worker-lost"
    assert set(codes.values()) <= {"worker-lost"}
    assert result.done + result.failed == 5
    assert result.exit_code == 8
    assert_whole(tmp_path / "out")
    (inputs / "poison.nii.gz").unlink()
    (inputs / "segfault.nii.gz").unlink()
    again = go(inputs, tmp_path / "out", model, scheduler="local", jobs=2)
    assert (again.skipped, again.done, again.exit_code) == (result.done, 3 - result.done, 0)
    assert leftovers(tmp_path / "out") == []


@pytest.mark.slow
def test_what_is_refused_ends_the_run_before_any_scan(tmp_path: Path, model: Path) -> None:
    inputs = make_scans(tmp_path / "in", 2)
    with pytest.raises(ModelError):
        go(
            inputs, tmp_path / "out", model, scheduler="local", jobs=1,
            settings=tiny_settings(model, weights=(inputs / "scan000.nii.gz",)),
        )  # fmt: skip
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_dir()] == []


@pytest.mark.slow
def test_asking_for_the_end_ends_a_cluster_run(tmp_path: Path, model: Path) -> None:
    interruption = Interruption()
    inputs = make_scans(tmp_path / "in", 2)
    make_scan(inputs / "long.nii.gz")
    timer = threading.Timer(12.0, interruption.request)
    timer.start()
    begin = time.monotonic()
    result = go(inputs, tmp_path / "out", model, scheduler="local", jobs=1, interruption=interruption)
    timer.cancel()
    assert (result.stopped, result.failed) == ("interrupted", 0)
    assert result.left >= 1
    assert time.monotonic() - begin < 40


def test_no_scheduler_there(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(UnavailableError) as caught:
        go(
            make_scans(tmp_path / "in", 1),
            tmp_path / "out",
            model,
            scheduler=f"tcp://127.0.0.1:{free_port()}",
        )
    assert (caught.value.code, caught.value.exit_code) == ("scheduler-unreachable", 69)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["inproc://10.0.0.1/7", "ucx://127.0.0.1:1", "tcp://127.0.0.1:99999"])
def test_a_client_that_was_half_made_goes_quietly(address: str) -> None:
    code = (
        "import sys\nfrom hirescam_cli.batch import scheduler\nfrom hirescam_cli.batch.options import RunOptions\n"
        "from hirescam_cli.errors import UnavailableError\nscheduler._CONNECT_SECONDS = 0.5\n"
        "try:\n    scheduler.connected(RunOptions(scheduler=sys.argv[1])).__enter__()\n"
        "except UnavailableError as error:\n    print(error.code)\n"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "scheduler-unreachable\n", "")
    assert time.monotonic() - begin < 20


def test_a_killed_scheduler_ends_the_run_and_a_second_one_resumes_it(tmp_path: Path, model: Path) -> None:
    inputs = scans_with_pauses(tmp_path / "in")
    events: list[Event] = []
    with dask_cluster("--no-nanny") as (address, (killed, *_)):
        killer = threading.Thread(target=kill_when_busy, args=(events, killed))
        killer.start()
        result = go(inputs, tmp_path / "out", model, events, scheduler=address)
        killer.join()
    assert (result.exit_code, result.stopped, result.failed) == (69, "scheduler-lost", 0)
    assert result.left > 0
    said = [event for event in events if isinstance(event, Notice) and event.code == "scheduler-lost"]
    assert len(said) == 1
    assert "run the same command again" in str(said[0].message)
    assert_whole(tmp_path / "out")
    again = go(inputs, tmp_path / "out", model, jobs=0)
    assert (again.done + again.skipped, again.exit_code) == (8, 0)
    assert again.skipped >= result.done
    assert leftovers(tmp_path / "out") == []


def test_a_scheduler_killed_before_the_first_scan_is_named(tmp_path: Path, model: Path) -> None:
    """While the run waits for workers."""
    address = f"tcp://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    dask = [
        sys.executable,
        "-m",
        "dask",
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--no-dashboard",
    ]
    with processes(dask) as (alone,):
        events: list[Event] = []

        def kill() -> None:
            while not any(isinstance(event, Notice) for event in list(events)):
                time.sleep(0.02)
            alone.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(UnavailableError, match="scheduler is gone") as caught:
            go(make_scans(tmp_path / "in", 1), tmp_path / "out", model, events, scheduler=address)
        killer.join()
    assert (caught.value.code, caught.value.exit_code) == ("scheduler-lost", 69)


def test_dask_is_an_extra(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"hirescam-cli\[dask\]"):
        go(make_scans(tmp_path / "in", 1), tmp_path / "out", model, scheduler="local")
