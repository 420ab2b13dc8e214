"""400 cases, 83 labels with a lesion each, two methods: processor time beside reading the files.

    pytest -m slow -s tests/evaluate/test_speed.py

prints the figures. Two cases are evaluated and stand for the others in the statistics.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import pytest

from hirescam_cli.case.document import dump
from hirescam_cli.case.record import Output
from hirescam_cli.evaluate import gather, run
from hirescam_cli.evaluate.gather import CaseResult, Task
from hirescam_cli.evaluate.options import EvaluateOptions
from hirescam_cli.geometry import affine as affines
from hirescam_cli.masks.collection import CaseMasks
from hirescam_cli.results.nifti_file import write_cams
from tests.evaluate.world import write_mask
from tests.views import make_case

CASES, LABELS = 400, tuple(f"label_{n:02d}" for n in range(83))
GOAL_SECONDS, CORES = 60.0, 2
BUSY = 3.0
"""How much slower than the goal a busy machine may be before this fails."""
Result = TypeVar("Result")


class Clock:
    """Processor time spent in the functions that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Result]) -> Callable[..., Result]:
        def timed(*arguments: object) -> Result:
            begin = time.process_time()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.process_time() - begin

        return timed


def write_world(folder: Path) -> None:
    """Two cases with maps of 134 x 6 x 6 cells and a lesion of 5 to 40 mm radius for each label."""
    view = make_case(
        labels=LABELS, slices=402, side=150, shape_lps=(160, 160, 134), spacing_mm=(2, 2, 6)
    ).view
    grid = view.volume.grid
    index = np.indices(grid.shape, dtype=np.float32)
    rng = np.random.default_rng(0)
    for name in ("case0", "case1"):
        (folder / "out" / name).mkdir(parents=True)
        outputs = []
        for method, maps in view.native.items():
            path = folder / "out" / name / f"{method}.cams.nii.gz"
            cam = maps + rng.normal(scale=0.01, size=maps.shape).astype(np.float32)
            write_cams(
                path, np.moveaxis(cam, -1, 0), np.asarray(view.case.target.affines["stretch"]), compress=1
            )
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            outputs.append(
                Output(
                    path=path.name, role="cams", format="nifti", method=method, label=None,
                    placement="stretch", grid="cam", sha256=sha256, bytes=path.stat().st_size,
                )
            )  # fmt: skip
        labels = tuple(msgspec.structs.replace(e, positive=True, slug=e.name) for e in view.case.labels)
        case = msgspec.structs.replace(view.case, case=name, labels=labels, outputs=tuple(outputs))
        (folder / "out" / name / "summary.json").write_bytes(dump(case))
        for label in LABELS:
            centre, radius = rng.uniform(0.25, 0.75, 3) * grid.shape, rng.uniform(5.0, 40.0)
            step = np.asarray(affines.spacing_mm(grid.affine_ras))
            away = sum((index[a] - centre[a]) ** 2 * step[a] ** 2 for a in range(3))
            write_mask(folder / "masks" / name / f"{label}.nii.gz", away <= radius**2, grid.affine_ras)


def as_case(result: CaseResult, name: str) -> CaseResult:
    """The same result as that of another case and patient."""
    found = result.evaluated
    answers = {a.label: replace(a, case=name, patient=name) for a in found.answers}
    pairs = tuple(replace(pair, answer=answers[pair.answer.label]) for pair in found.pairs)
    entries = tuple(replace(entry, case=name, patient=name) for entry in found.entries)
    evaluated = replace(found, answers=tuple(answers.values()), pairs=pairs, entries=entries)
    return replace(result, name=name, evaluated=evaluated)


@pytest.mark.slow
def test_a_hospitals_worth_of_cases_takes_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_world(tmp_path)
    reading, spent = Clock(), Clock()
    monkeypatch.setattr(gather, "load_case", reading.around(gather.load_case))
    monkeypatch.setattr(CaseMasks, "load", reading.around(CaseMasks.load))
    seconds: list[float] = []

    def some(tasks: list[Task], _jobs: int, _on_done: object) -> list[CaseResult]:
        results = []
        for task in tasks:
            before = reading.seconds
            spent.seconds = 0.0
            results.append(spent.around(gather.run_task)(task))
            seconds.append(spent.seconds - (reading.seconds - before))
        return results

    monkeypatch.setattr(run, "run_tasks", some)
    options = EvaluateOptions(masks=tmp_path / "masks")
    measured = run.measure_run(tmp_path / "out", options, ())
    results = [as_case(measured.results[n % 2], f"case{n:03d}") for n in range(CASES)]
    whole = replace(measured, results=results)
    assert len(whole.pairs) == CASES * len(LABELS) * 2
    begin = time.process_time()
    record = run.summarise_run(whole, None, options, (), "0" * 64)
    (tmp_path / "e").mkdir()
    run._write(tmp_path / "e", whole, record)
    after = time.process_time() - begin
    # The first case also pays for imports.
    total = seconds[-1] * CASES / CORES + after
    print(f"{seconds[-1]:.2f} s a case, {after:.1f} s after; {CASES} cases on {CORES} cores: {total:.0f} s")
    assert total < BUSY * GOAL_SECONDS
