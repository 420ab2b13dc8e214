"""From an output folder and its masks to evaluated cases."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from hirescam_cli.case.listing import iter_cases
from hirescam_cli.case.record import Case, FailedCase, Label
from hirescam_cli.case.reload import FinishedCase, load_case
from hirescam_cli.errors import HirescamError, MaskError, NoInputError
from hirescam_cli.evaluate.cells import cropped, share_inside
from hirescam_cli.evaluate.pairs import (
    MIN_SEEN,
    Answer,
    Evaluated,
    Lesions,
    MaskUse,
    Outcome,
    Plan,
    evaluate_case,
    scan_grid,
    seen_grid,
)
from hirescam_cli.evaluate.record import MaskFacts, Problem
from hirescam_cli.evaluate.truth import Truth
from hirescam_cli.masks.collection import CaseMasks, MaskCollection
from hirescam_cli.masks.mask import Mask
from hirescam_cli.masks.names import Assignment


@dataclass(frozen=True)
class Found:
    """A finished case of a run."""

    folder: str
    case: Case


@dataclass(frozen=True)
class Task:
    """A case to evaluate. `by_label`: the masks' names; without those of which there is none. `organs`: for the ledger.

    `doubtful`: labels with a mask that is refused by its name, `problems`: why. `absent_without_mask`: labels that
    other cases have masks of, so that no mask means that it is not there.
    """

    out: Path
    root: Path
    folder: str
    name: str
    patient: str
    split: str | None
    truth: Mapping[str, bool]
    masks: CaseMasks | None
    by_label: Mapping[str, str]
    doubtful: frozenset[str]
    problems: tuple[Problem, ...]
    organs: tuple[str, ...]
    absent_without_mask: frozenset[str]
    labels: tuple[str, ...]
    plan: Plan


@dataclass(frozen=True)
class CaseResult:
    """What came of a case."""

    name: str
    evaluated: Evaluated
    masks: tuple[MaskFacts, ...]
    problems: tuple[Problem, ...]


class Files:
    """Where cases and masks are read."""

    def case(self, folder: Path) -> FinishedCase:
        """A finished case. Raises HirescamError."""
        return load_case(folder)

    def mask(self, masks: CaseMasks, name: str) -> Mask:
        """One of a case's masks. Raises MaskError."""
        return masks.load(name)


FROM_DISK = Files()


@dataclass
class _Reading:
    """What reading the masks of a case brought to light."""

    files: Files
    used: list[MaskFacts] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unusable: set[str] = field(default_factory=set)


def finished_cases(out: Path) -> tuple[int, list[Found]]:
    """How many cases the output holds, and those that are finished. Raises NoInputError if there is none."""
    if not out.is_dir():
        raise NoInputError(f"{out.name} is not a folder.", hint="Give the output folder of hirescam explain.")
    listed = list(iter_cases(out))
    found = [Found(one.folder, one.case) for one in listed if isinstance(one.case, Case)]
    if not found:
        failed = next((one.case.error.message for one in listed if isinstance(one.case, FailedCase)), "")
        raise NoInputError(
            f"{out.name} holds no finished case. {failed}".strip(),
            hint="Give the output folder of hirescam explain.",
        )
    return len(listed), found


def tasks_for(
    out: Path, root: Path, found: Sequence[Found], collection: MaskCollection, truth: Truth, plan: Plan,
    labels: Sequence[str],
) -> list[Task]:  # fmt: skip
    """A task for each case of which anything is known: by masks, or by the table of labels."""
    chosen = set(labels)
    given: dict[str, Assignment] = {}
    for one in found:
        masks = collection.of(one.folder)
        given[one.folder] = masks.assigned(*_called(one.case)) if masks else Assignment({}, {})
    with_masks = frozenset(label for one in given.values() for label in one.masks if label in chosen)
    tasks = []
    for one in found:
        masks = collection.of(one.folder)
        known = truth.present.get(one.folder, {})
        if masks is None and not known:
            continue
        organs = [n for n in masks.names() if any(r.takes(n) for r in plan.regions)] if masks else []
        own = given[one.folder]
        tasks.append(
            Task(
                out=out,
                root=root,
                folder=one.folder,
                name=one.folder,
                patient=truth.patient[one.folder],
                split=truth.split.get(one.folder),
                truth=known,
                masks=masks,
                by_label={label: mask for label, mask in own.masks.items() if label in chosen},
                doubtful=frozenset(own.doubtful),
                problems=_doubts(masks, one.case, root, chosen) if masks else (),
                organs=tuple(organs),
                absent_without_mask=with_masks if masks and not masks.unread else frozenset(),
                labels=tuple(labels),
                plan=plan,
            )
        )
    return tasks


def _called(case: Case) -> tuple[list[str], dict[str, str]]:
    """The names of all labels of a case, and their slugs."""
    return [label.name for label in case.labels], {label.name: label.slug for label in case.labels}


def _doubts(masks: CaseMasks, case: Case, root: Path, chosen: set[str]) -> tuple[Problem, ...]:
    """The masks of a case of which it is not known whose they are."""
    names, slugs = _called(case)
    if chosen.isdisjoint(masks.assigned(names, slugs).doubtful):
        return ()
    return tuple(
        Problem(path=_relative(p.path, root), code=p.code, text=p.text) for p in masks.doubts(names, slugs)
    )


def run_task(task: Task, files: Files = FROM_DISK) -> CaseResult:
    """Read a case and its masks, and measure it. What cannot be used is a problem, never silently nothing."""
    reading = _Reading(files, problems=list(task.problems), unusable=set(task.doubtful))
    try:
        finished = files.case(task.out / task.folder)
    except HirescamError as error:
        return CaseResult(
            task.name, Evaluated(), (), (Problem(path=task.folder, code=error.code, text=str(error)),)
        )
    case = finished.case
    scan, seen = scan_grid(case), seen_grid(case)
    lesions: dict[str, Lesions] = {}
    empty: set[str] = set()
    for label, name in task.by_label.items():
        mask = _read(task, name, reading)
        if mask is None:
            reading.unusable.add(label)
            continue
        array, affine = cropped(mask.array_ijk, mask.affine_ras)
        if not array.size:
            empty.add(label)
        elif share_inside(array, affine, scan) == 0.0:
            reading.unusable.add(label)
            text = f"{name} lies nowhere in the scan: another patient's, or another frame of reference"
            reading.problems.append(
                Problem(path=_relative(mask.path, task.root), code="mask-elsewhere", text=text)
            )
        else:
            lesions[label] = Lesions(array, affine, seen, tight=True)
    answers: list[Answer] = []
    for one in case.labels:
        if one.name in task.labels and one.name not in reading.unusable:
            answers += _answer(task, one, lesions.get(one.name), one.name in empty)
    organs = [_read(task, name, reading) for name in task.organs]
    usable = {answer.label: lesions[answer.label] for answer in answers if answer.label in lesions}
    evaluated = evaluate_case(finished, answers, usable, [o for o in organs if o is not None], task.plan)
    return CaseResult(task.name, evaluated, tuple(dict.fromkeys(reading.used)), tuple(reading.problems))


def _read(task: Task, name: str, reading: _Reading) -> Mask | None:
    assert task.masks is not None
    try:
        mask = reading.files.mask(task.masks, name)
    except MaskError as error:
        reading.problems.append(Problem(path=f"{task.name}/{name}", code=error.code, text=str(error)))
        return None
    reading.used.append(
        MaskFacts(case=task.name, name=name, path=_relative(mask.path, task.root), sha256=mask.sha256)
    )
    return mask


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _answer(task: Task, label: Label, lesions: Lesions | None, empty: bool) -> Iterator[Answer]:
    """What the network said of a label; nothing where its truth is not known."""
    stated = task.truth.get(label.name)
    if lesions is not None or stated:
        present = True
    elif stated is False or empty or label.name in task.absent_without_mask:
        present = False
    else:
        return
    outcome: dict[tuple[bool, bool], Outcome] = {
        (True, True): "true_positive",
        (True, False): "false_negative",
        (False, True): "false_positive",
        (False, False): "true_negative",
    }
    mask: MaskUse = "empty" if empty else "none"
    if lesions is not None:
        mask = "used" if lesions.seen >= MIN_SEEN else "out_of_view"
    yield Answer(
        case=task.name,
        patient=task.patient,
        split=task.split,
        label=label.name,
        logit=label.logit,
        probability=label.probability,
        positive=label.positive,
        outcome=outcome[present, label.positive],
        mask=mask,
    )


def run_tasks(
    tasks: Sequence[Task], jobs: int, on_done: Callable[[str], None], files: Files = FROM_DISK
) -> list[CaseResult]:
    """All tasks, in order, in as many processes; `on_done` hears of each."""
    results = []
    if jobs <= 1 or len(tasks) < 2 * jobs:
        for task in tasks:
            results.append(run_task(task, files))
            on_done(task.name)
        return results
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_leave_interrupts) as pool:
        try:
            chunk = max(1, min(8, len(tasks) // (4 * jobs)))
            for result in pool.map(partial(run_task, files=files), tasks, chunksize=chunk):
                results.append(result)
                on_done(result.name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def _leave_interrupts() -> None:
    """An interrupt ends the parent, which ends these processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
