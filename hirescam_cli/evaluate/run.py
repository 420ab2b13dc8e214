"""The whole evaluation: cases and masks in, evaluation.json, its tables and its pictures out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli import __version__
from hirescam_cli.durable import output_error, write_file
from hirescam_cli.errors import NoInputError, OutputCreateError, UsageError
from hirescam_cli.evaluate.bootstrap import Draws
from hirescam_cli.evaluate.differences import between, within
from hirescam_cli.evaluate.document import dump, load
from hirescam_cli.evaluate.drawing import ledger_picture, summary_picture
from hirescam_cli.evaluate.figures import Frame
from hirescam_cli.evaluate.gather import (
    FROM_DISK,
    CaseResult,
    Files,
    Found,
    finished_cases,
    run_tasks,
    tasks_for,
)
from hirescam_cli.evaluate.identity import below, hash_of, inputs_hash
from hirescam_cli.evaluate.options import EvaluateOptions
from hirescam_cli.evaluate.pairs import Answer, Entry, Pair, Plan
from hirescam_cli.evaluate.paper_summary import paper_results
from hirescam_cli.evaluate.record import CaseCounts, Difference, Evaluation, MaskFacts, ModelFacts, Problem
from hirescam_cli.evaluate.regions import Region, load_regions
from hirescam_cli.evaluate.summarise import counts, label_results, overall, region_shares
from hirescam_cli.evaluate.tables import cases_csv, labels_csv, ledger_csv
from hirescam_cli.evaluate.truth import read_truth
from hirescam_cli.masks.collection import MaskCollection, find_masks

RECORD, CASES, LABELS, LEDGER = "evaluation.json", "cases.csv", "labels.csv", "ledger.csv"
PICTURE, LEDGER_PICTURE = "evaluation.png", "ledger.png"
FILES = (RECORD, CASES, LABELS, LEDGER, PICTURE, LEDGER_PICTURE)


@dataclass(frozen=True)
class Result:
    """An evaluation; `already`: an earlier one with the same inputs, which was kept."""

    record: Evaluation
    folder: Path
    already: bool


@dataclass(frozen=True)
class Measured:
    """All cases of a run, measured."""

    found: int
    finished: Sequence[Found]
    with_masks: int
    results: Sequence[CaseResult]
    problems: tuple[Problem, ...]
    unused: tuple[str, ...]
    unused_columns: tuple[str, ...] = ()

    @property
    def answers(self) -> list[Answer]:
        """What the network said, of all cases."""
        return [answer for result in self.results for answer in result.evaluated.answers]

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of all cases."""
        return [pair for result in self.results for pair in result.evaluated.pairs]

    @property
    def entries(self) -> list[Entry]:
        """The ledger of all cases."""
        return [entry for result in self.results for entry in result.evaluated.entries]

    @property
    def masks(self) -> tuple[MaskFacts, ...]:
        """The masks that were used."""
        return tuple(mask for result in self.results for mask in result.masks)


def evaluate(
    out: Path,
    options: EvaluateOptions,
    folder: Path | None = None,
    on_done: Callable[[str], None] = lambda _: None,
) -> Result:
    """Evaluate the finished cases below `out` and write everything into `folder` (default: `out`/evaluation).

    An evaluation of the same cases, masks, tables and options is kept. Raises UsageError, NoInputError (no mask of any
    case, or none that can be used for a label), OutputCreateError or OutputIOError.
    """
    folder = folder or out / "evaluation"
    regions = load_regions(options.regions) if options.regions else ()
    runs = [out] if options.compare is None else [out, options.compare]
    identity = inputs_hash(runs, options, regions)
    earlier = _earlier(folder, identity, options)
    if earlier is not None:
        return Result(earlier, folder, True)
    this = measure_run(out, options, regions, on_done, lambda: _create(folder))
    that = None if options.compare is None else measure_run(options.compare, options, regions, on_done)
    if not any(run.answers for run in (this, that) if run is not None):
        raise _nothing_known(this)
    record = summarise_run(this, that, options, regions, identity)
    write_results(folder, this, record)
    return Result(record, folder, False)


def _nothing_known(this: Measured) -> NoInputError:
    """The error of a run of which no label's truth is known."""
    if this.problems:
        first = this.problems[0]
        what = f"None of the labels' masks can be used. {first.path}: {first.text}"
    else:
        what = f"No mask is called as one of the labels; there are {', '.join(this.unused[:8]) or 'none'}."
    return NoInputError(what, hint="Call each mask exactly as its label.", code="no-mask")


def measure_run(
    out: Path,
    options: EvaluateOptions,
    regions: Sequence[Region],
    on_done: Callable[[str], None] = lambda _: None,
    on_plan: Callable[[], None] = lambda: None,
    files: Files = FROM_DISK,
) -> Measured:
    """Measure every finished case below `out`; `on_plan` is called when it is known that there is something to do.

    Raises UsageError or NoInputError.
    """
    assert options.masks is not None
    found, finished = finished_cases(out)
    cases = [one.folder for one in finished]
    labels = _labels(finished, options)
    methods = _methods(finished, options)
    collection = find_masks(options.masks, cases, options.mask_labels)
    matched = [case for case in cases if collection.of(case) is not None]
    if not matched:
        why = f" {collection.problems[0].text}" if collection.problems else ""
        raise NoInputError(
            f"None of the {len(cases)} cases has masks in {options.masks.name}.{why}",
            hint=f"Name each folder of masks as its case is named, for example {cases[0]}.",
            code="no-mask",
        )
    truth = read_truth(options.truth, options.group, cases, labels, _names(finished))
    plan = Plan(methods, options.placement == "both", options.tolerance_mm, options.papers, tuple(regions))
    tasks = tasks_for(out, options.masks, finished, collection, truth, plan, labels)
    on_plan()
    results = run_tasks(tasks, options.jobs or 1, on_done, files)
    problems = [
        Problem(path=below(p.path, options.masks), code=p.code, text=p.text) for p in collection.problems
    ]
    problems += [problem for result in results for problem in result.problems]
    used = {name for task in tasks for name in (*task.by_label.values(), *task.organs)}
    return Measured(
        found,
        finished,
        len(matched),
        results,
        tuple(problems),
        _unused(collection, matched, used),
        truth.unused,
    )


def summarise_run(
    this: Measured,
    that: Measured | None,
    options: EvaluateOptions,
    regions: Sequence[Region],
    inputs: str,
) -> Evaluation:
    """The record of a run, compared with another where there is one."""
    answers, pairs = this.answers, this.pairs
    frames = _frames([this] if that is None else [this, that])
    frame = frames[0]
    draws = Draws.of(len(frame.patients), options.bootstrap, options.seed)
    comparisons = [*within(frame), *(between(frame, frames[1]) if that else ())]
    differences: list[Difference] = []
    for comparison in comparisons:
        differences += comparison.differences(draws)
    true = {(a.case, a.label) for a in answers if a.outcome == "true_positive" and a.mask == "used"}
    titles = _titles(this.finished)
    return Evaluation(
        schema_version=1,
        version=__version__,
        inputs_hash=inputs,
        options_hash=hash_of(options.identity()),
        options=options.identity(),
        models=_models(this.finished),
        cases=CaseCounts(
            found=this.found,
            finished=len(this.finished),
            with_masks=this.with_masks,
            patients=len({answer.patient for answer in answers}),
        ),
        methods={method: titles[method] for method in frame.methods},
        placements=frame.placements,
        regions=tuple(region.name for region in regions),
        counts=tuple(counts(answers, frame.labels)),
        results=tuple(label_results(frame, draws)),
        overall=tuple(overall(frame, draws)),
        differences=tuple(differences),
        ledger=tuple(region_shares(this.entries, true, frame.patients, draws)),
        papers=tuple(paper_results(pairs)),
        unused_masks=this.unused,
        unused_columns=this.unused_columns,
        problems=this.problems,
        masks=this.masks,
    )


def _frames(runs: Sequence[Measured]) -> list[Frame]:
    """The pairs of runs, over the same lists of cases, labels and patients."""
    answers = [answer for run in runs for answer in run.answers]
    order = {label.name: None for run in runs for one in run.finished for label in one.case.labels}
    asked = {answer.label for answer in answers}
    labels = [label for label in order if label in asked]
    cases, patients = sorted({a.case for a in answers}), sorted({a.patient for a in answers})
    frames = []
    for run in runs:
        pairs = run.pairs
        methods = list(dict.fromkeys(pair.method for pair in pairs))
        own = Counter(str(one.case.placement) for one in run.finished)
        placements = sorted({pair.placement for pair in pairs}, key=lambda name: (-own[name], name))
        frames.append(Frame.of(pairs, cases, labels, patients, methods, placements))
    return frames


def _labels(finished: Sequence[Found], options: EvaluateOptions) -> list[str]:
    known = _names(finished)
    wanted = options.wanted_labels
    for name in wanted or ():
        if name not in known:
            raise UsageError(
                f"--labels: the cases have no label {name!r}.", hint=f"They have {', '.join(known[:8])}."
            )
    return [name for name in known if wanted is None or name in wanted]


def _names(finished: Sequence[Found]) -> list[str]:
    """All labels of the cases."""
    return list(dict.fromkeys(label.name for one in finished for label in one.case.labels))


def _methods(finished: Sequence[Found], options: EvaluateOptions) -> tuple[str, ...]:
    """The methods that every case holds, hirescam first where it is one of them."""
    held = [name for name in finished[0].case.methods if all(name in one.case.methods for one in finished)]
    for name in options.methods or ():
        if name not in held:
            raise UsageError(
                f"Not all cases were explained with {name}.",
                hint=f"All hold {', '.join(held) or 'none in common'}; other methods need hirescam explain.",
                code="method-missing",
            )
    chosen = options.methods or tuple(sorted(held, key=lambda name: name != "hirescam"))
    if not chosen:
        raise UsageError("The cases have no method in common.", hint="Explain them alike.")
    return chosen


def _titles(finished: Sequence[Found]) -> dict[str, str]:
    return {name: facts.title for one in finished for name, facts in one.case.methods.items()}


def _models(finished: Sequence[Found]) -> tuple[ModelFacts, ...]:
    found = Counter(
        (one.case.model.name, one.case.model.weights_sha256, one.case.model.demonstration) for one in finished
    )
    return tuple(
        ModelFacts(name=name, weights_sha256=sha256, demonstration=demonstration, cases=count)
        for (name, sha256, demonstration), count in sorted(found.items(), key=lambda item: str(item[0]))
    )


def _unused(collection: MaskCollection, cases: Sequence[str], used: set[str]) -> tuple[str, ...]:
    names: set[str] = set()
    for case in cases:
        masks = collection.of(case)
        names |= set(masks.names()) if masks else set()
    return tuple(sorted(names - used))


def _earlier(folder: Path, identity: str, options: EvaluateOptions) -> Evaluation | None:
    """The evaluation in `folder` if it is of the same inputs and whole."""
    path = folder / RECORD
    if options.existing == "overwrite" or not path.is_file():
        return None
    if options.existing == "error":
        raise OutputCreateError(
            f"{folder.name} already holds an evaluation.",
            hint="Choose another --output, or --existing skip or overwrite.",
            code="case-exists",
        )
    try:
        record = load(path.read_bytes())
    except ValueError:
        return None
    whole = all((folder / name).is_file() for name in FILES)
    return record if whole and record.inputs_hash == identity else None


def _create(folder: Path) -> None:
    """Make the folder of the results before anything is measured, so that one that cannot be made costs nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder.name) from error


def write_results(folder: Path, this: Measured, record: Evaluation) -> None:
    """Each file in one step, the record last."""
    (folder / RECORD).unlink(missing_ok=True)
    write_file(folder / CASES, cases_csv(this.pairs).encode())
    write_file(folder / LABELS, labels_csv(record).encode())
    write_file(folder / LEDGER, ledger_csv(this.entries).encode())
    write_file(folder / PICTURE, summary_picture(record))
    write_file(folder / LEDGER_PICTURE, ledger_picture(record))
    write_file(folder / RECORD, dump(record))
