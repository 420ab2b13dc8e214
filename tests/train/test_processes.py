"""Two processes over the loopback, as torchrun starts them: the same training as one with two scans a step."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from hirescam_cli.train.checkpoint import load_checkpoint
from hirescam_cli.train.run import train
from tests.train.test_resume import digest, steps_done
from tests.train.world import World, hirescam

NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def together(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes."""
    run = tmp_path_factory.mktemp("together") / "run"
    process = hirescam(
        *world.command(run, "--masks", str(world.folder / "masks"), "--mask-loss", "papers"), processes=2
    )
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    return run


@pytest.mark.slow
def test_two_processes_are_one_with_two_scans_a_step(world: World, together: Path, tmp_path: Path) -> None:
    """5 training scans, so the last step of an epoch has one scan and a process that has none."""
    run = tmp_path / "run"
    train(world.request(run, accumulate=2, masks=world.folder / "masks", loss="papers"))
    two, one = load_checkpoint(together), load_checkpoint(run)
    assert two is not None
    assert one is not None
    assert two.progress.total_steps == one.progress.total_steps == 6
    names = [name for name in one.weights if not name.endswith(NOT_PARAMETERS)]
    for name in names:
        torch.testing.assert_close(two.weights[name], one.weights[name], rtol=1e-5, atol=1e-5)
    start = [name for name in names if name.endswith("weight") and one.weights[name].ndim == 4]
    moved = max(float(one.optimiser[f"{name}|momentum_buffer"].abs().max()) for name in start)
    assert moved > 1e-2, "nothing was learnt, so this shows nothing"
    for mine, theirs in zip(one.progress.history, two.progress.history, strict=True):
        assert mine.train.scans == theirs.train.scans == 5
        assert theirs.train.total == pytest.approx(mine.train.total, rel=1e-4)
        assert theirs.train.mask > 0


@pytest.mark.slow
def test_validation_has_each_scan_once(together: Path) -> None:
    with (together / "validation.csv").open(newline="") as file:
        rows = [(row["id"], row["label"]) for row in csv.DictReader(file)]
    assert len(rows) == len(set(rows)) == 3 * 3
    summary = json.loads((together / "summary.json").read_text())
    assert summary["processes"] == 2
    assert summary["best"]["valid"]["scans"] == 3


@pytest.mark.slow
def test_killed_and_resumed_two_processes_end_in_the_same_bits(
    world: World, together: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    more = ("--masks", str(world.folder / "masks"), "--mask-loss", "papers", "--checkpoint-minutes", "0")
    process = hirescam(*world.command(run, *more), processes=2)
    limit = time.monotonic() + 120
    while steps_done(run) < 4 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    children = [
        int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]
    assert len(children) >= 2
    process.send_signal(signal.SIGKILL)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    process.wait(30)
    assert 4 <= steps_done(run) <= 6
    again = hirescam(*world.command(run, *more), processes=2)
    _, err = again.communicate(timeout=180)
    assert again.returncode == 0, err
    assert "Going on after" in err
    assert digest(run) == digest(together)


def test_what_torchrun_started_says_all_and_ends_with_its_code(tmp_path: Path) -> None:
    """Such a process leaves out the interpreter's clean-up, not its last words."""
    for arguments, code in ((("model", "list"), 0), (("explain", str(tmp_path / "no-such.nii")), 66)):
        told = []
        for environment in ({}, {"TORCHELASTIC_RUN_ID": "x"}):
            process = hirescam(*arguments, **environment)
            told.append((*process.communicate(timeout=60), process.returncode))
        assert told[0] == told[1]
        assert told[1][2] == code
        assert any(told[1][:2])
