"""Questions asked in another process: what comes back, and what a crash or a hang costs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.io import InputPath, ReadOptions, discover, isolated
from hirescam_cli.io.isolated import Isolated
from tests.io.nifti_factory import make_nifti

HOSTILE = "import pathlib; pathlib.Path(__file__).with_name('ran').write_text('')\n"


def test_answers_come_from_another_process_that_is_kept() -> None:
    with Isolated() as ask:
        first, second = ask(_process, 0, -1), ask(_process, 0, -1)
    assert first == second
    assert first not in (-1, os.getpid())


def test_what_raises_is_answered_otherwise_and_the_next_question_is_answered() -> None:
    with Isolated() as ask:
        assert ask(int, "x", -1) == -1
        assert ask(int, "7", -1) == 7


def test_a_crash_costs_one_answer() -> None:
    with Isolated() as ask:
        assert ask(os._exit, 3, None) is None
        assert ask(int, "7", -1) == 7


def test_what_takes_too_long_is_given_up() -> None:
    with Isolated(seconds=1.0) as ask:
        assert ask(int, "7", -1) == 7
        begin = time.monotonic()
        assert ask(time.sleep, 60, None) is None
        assert time.monotonic() - begin < 10
        assert ask(int, "8", -1) == 8


def _process(_question: int) -> int:
    return os.getpid()


@pytest.fixture
def undecided(tmp_path: Path) -> Path:
    """A folder with a mask, of which the first voxels do not tell that it is one."""
    mask = np.zeros((64, 64, 64), np.int16)
    mask[20:40, 20:40, 60:] = 3
    scan = mask.copy()
    scan[0, 0, -1] = -5
    make_nifti(tmp_path / "in" / "mask.nii", mask)
    make_nifti(tmp_path / "in" / "scan.nii", scan)
    return tmp_path / "in"


def test_masks_are_told_by_another_process_where_the_first_voxels_do_not(
    undecided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    begin = isolated.child_command

    def watched(code: str, *arguments: str) -> list[str]:
        started.append(code)
        return begin(code, *arguments)

    monkeypatch.setattr(isolated, "child_command", watched)
    found = discover([InputPath(undecided)], ReadOptions())
    assert [scan.name for scan in found.scans] == ["scan.nii"]
    assert [(item.name, item.code) for item in found.ignored] == [("mask.nii", "label-map")]
    assert len(started) == 1


def test_the_working_folder_is_not_searched(undecided: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "queue", "socket"):
        (undecided.parent / f"{name}.py").write_text(HOSTILE)
    monkeypatch.chdir(undecided.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", *filter(None, sys.path)]))
    found = discover([InputPath(undecided)], ReadOptions())
    assert [item.code for item in found.ignored] == ["label-map"]
    assert not (undecided.parent / "ran").exists()
