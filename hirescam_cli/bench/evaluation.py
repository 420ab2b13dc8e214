"""A row about `evaluate`: many cases, labels and methods, beside reading their files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import nibabel
import numpy as np

from hirescam_cli.api import explain
from hirescam_cli.batch.options import RunOptions
from hirescam_cli.bench.table import Row, at_most
from hirescam_cli.bench.workload import Workload, scan_affine, synthetic_scan, write_scan
from hirescam_cli.case.reload import FinishedCase
from hirescam_cli.evaluate import run
from hirescam_cli.evaluate.gather import CaseResult, Files
from hirescam_cli.evaluate.options import EvaluateOptions
from hirescam_cli.masks.collection import CaseMasks
from hirescam_cli.masks.mask import Mask
from hirescam_cli.threads import limited

_CASES, _CORES = 400, 2
_GOAL_SECONDS = 60.0
_SHAPE, _SPACING_MM = (160, 160, 134), (2.0, 2.0, 3.0)
_RADII_MM = (5.0, 40.0)
_MEASURED = ("case0", "case1")

Result = TypeVar("Result")


def evaluation_rows(workload: Workload) -> list[Row]:
    """400 cases with a lesion of each label, two methods: two are measured and stand for the others.

    Processor time: that of a case, on as many cores as there are processes, and that of the statistics and tables,
    on one.
    """
    workload.say("the evaluation of many cases")
    out, masks = workload.folder / "evaluated", workload.folder / "evaluated-masks"
    labels = workload.spec.labels
    _write_cases(workload, out)
    for number, name in enumerate(_MEASURED):
        _write_masks(masks / name, labels, number)
    options = EvaluateOptions(masks=masks, jobs=1)
    with limited(1):
        each, measured = _measure(out, options)
        results = measured.results
        many = [_renamed(results[n % len(results)], f"case{n:03d}") for n in range(_CASES)]
        whole = replace(measured, results=many)
        written = workload.folder / "evaluation"
        written.mkdir()
        begin = time.process_time()
        run.write_results(written, whole, run.summarise_run(whole, None, options, (), ""))
        after = time.process_time() - begin
    total = each * _CASES / _CORES + after
    return [
        Row(
            "evaluate",
            f"Evaluating {_CASES} cases, {len(labels)} labels, 2 methods, on {_CORES} cores, beside reading the files",
            "s",
            total,
            workload.goal(at_most(_GOAL_SECONDS)),
            f"{each:.2f} s a case, {after:.1f} s for statistics, tables and pictures; measured on {len(results)} cases",
        )
    ]


def _write_cases(workload: Workload, out: Path) -> None:
    """Explain as many scans as are measured, all labels, both methods."""
    folder = workload.folder / "evaluated-scans"
    folder.mkdir()
    for number, name in enumerate(_MEASURED):
        array, affine = synthetic_scan(_SHAPE, number), scan_affine(_SHAPE, _SPACING_MM)
        write_scan(folder / f"{name}.nii.gz", array, affine)
    settings = replace(workload.settings, labels="all", methods=("hirescam", "gradcam"), grid="cam")
    explain(folder, out, settings=settings, options=RunOptions(jobs=0))


def _write_masks(folder: Path, labels: Sequence[str], seed: int) -> None:
    """A ball somewhere in the scan for each label."""
    folder.mkdir(parents=True)
    rng, affine = np.random.default_rng(seed), scan_affine(_SHAPE, _SPACING_MM)
    index = [
        np.arange(n, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, n in enumerate(_SHAPE)
    ]
    for label in labels:
        centre, radius = rng.uniform(0.25, 0.75, 3) * _SHAPE, rng.uniform(*_RADII_MM)
        away = sum(((i - c) * mm) ** 2 for i, c, mm in zip(index, centre, _SPACING_MM, strict=True))
        image = nibabel.Nifti1Image((away <= radius**2).astype(np.uint8), affine)
        nibabel.save(image, folder / f"{label}.nii.gz")


class _Timed(Files):
    """Reads, and takes the processor time of it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def case(self, folder: Path) -> FinishedCase:
        return self._timed(lambda: super(_Timed, self).case(folder))

    def mask(self, masks: CaseMasks, name: str) -> Mask:
        return self._timed(lambda: super(_Timed, self).mask(masks, name))

    def _timed(self, read: Callable[[], Result]) -> Result:
        begin = time.process_time()
        try:
            return read()
        finally:
            self.seconds += time.process_time() - begin


def _measure(out: Path, options: EvaluateOptions) -> tuple[float, run.Measured]:
    """Processor seconds of a case beside reading, and the whole run. The first time only warms up."""
    run.measure_run(out, options, ())
    files, begin = _Timed(), time.process_time()
    measured = run.measure_run(out, options, (), files=files)
    return (time.process_time() - begin - files.seconds) / len(measured.results), measured


def _renamed(result: CaseResult, name: str) -> CaseResult:
    """The same result as that of another case and patient."""
    found = result.evaluated
    answers = {a.label: replace(a, case=name, patient=name) for a in found.answers}
    pairs = tuple(replace(pair, answer=answers[pair.answer.label]) for pair in found.pairs)
    entries = tuple(replace(entry, case=name, patient=name) for entry in found.entries)
    evaluated = replace(found, answers=tuple(answers.values()), pairs=pairs, entries=entries)
    return replace(result, name=name, evaluated=evaluated)
