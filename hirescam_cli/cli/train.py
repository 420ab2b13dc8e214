"""`hirescam train`: options in, one training, lines on stderr, its summary or a table on stdout."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hirescam_cli.cli.options import Given, setup_streams, with_options
from hirescam_cli.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from hirescam_cli.train.events import Event

Tables = Annotated[
    list[str],
    typer.Argument(
        metavar="[SPLIT=]TABLE...", help="CSV or TSV of scans; train=FILE valid=FILE where each is a split."
    ),
]
_SILENCE_S = 30.0


@with_options(
    "output", "model", "device", "precision", "series", "prefer", "assume-affine", "allow-gaps", "max-voxels",
    "existing", "max-failures", "dry-run", "json", "quiet", "verbose",
    "id-column", "path-column", "path-template", "id-pattern", "scans", "split-column", "patient-column", "patients",
    "label-columns", "or-locations", "masks", "mask-labels", "regions", "mask-loss", "mask-weight", "mask-cells",
    "init", "epochs", "patience", "monitor", "optimizer", "lr", "schedule", "momentum", "weight-decay", "accumulate",
    "clip", "warm-up", "warm-up-lr", "warm-up-positions", "augment", "calibrate", "thresholds", "seed", "deterministic",
    "cache", "workers", "checkpoint-minutes", "continue-anyway", "log",
    defaults={"model": "", "max-failures": 1},
    helps={
        "output": "Folder of the run.",
        "model": "The network: an embedded model or a description file.",
        "precision": "auto is bf16 where a GPU has it, else fp32.",
        "existing": "skip goes on with what is there.",
        "max-failures": "End at that many scans that cannot be used; fewer are left out.",
        "masks": "Folder of masks, a folder for each scan.",
        "regions": "Which masks allow evidence for which label. [default: the label's own]",
        "seed": "Of weights, order and augmentation.",
        "dry-run": "Check table and scans, print counts, stop.",
        "json": "Print summary.json on stdout, nothing else.",
    },
)  # fmt: skip
def train_command(tables: Tables, given: Given) -> None:
    """Train a network from scans and a table of labels; the result explains at once. Going on is the default."""
    setup_streams(quiet=given["quiet"], verbose=given["verbose"])
    from hirescam_cli.cli.console import print_json, stderr, stdout, working
    from hirescam_cli.io.scan import ReadOptions
    from hirescam_cli.train.layout import Layout
    from hirescam_cli.train.options import MaskOptions, RunOptions, TrainOptions
    from hirescam_cli.train.plan import Request, dry_run
    from hirescam_cli.train.run import train
    from hirescam_cli.train.table import Source

    request = Request(
        tuple(Source.parse(text) for text in tables),
        given.make(TrainOptions),
        given.make(MaskOptions),
        given.make(Layout),
        given.make(ReadOptions),
        given.make(RunOptions),
    )
    if given["dry-run"]:
        with working() as say:
            found = dry_run(request, lambda event: say(event.text))
        if given["json"]:
            print_json(found)
        else:
            _print_counts(found, stdout())
        if found["unusable"]:
            raise typer.Exit(ExitCode.SOME_FAILED)
        return
    result = train(request, _Lines(stderr(), quiet=given["quiet"], verbose=given["verbose"]))
    if result.document is not None:
        if given["json"]:
            print_json(result.document)
        elif not given["quiet"] and result.document["best"]:
            _print_figures(result.document, stdout())
    if result.exit_code != ExitCode.OK:
        raise typer.Exit(result.exit_code)


class _Lines:
    """A line for each lasting event, and a sign of life within an epoch."""

    def __init__(self, console: Console, *, quiet: bool, verbose: int) -> None:
        self._console, self._quiet = console, quiet
        self._every = 0.0 if verbose else _SILENCE_S
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        from hirescam_cli.batch.progress import duration

        if event.name == "failed":
            # The error itself is printed at the end.
            return
        if self._quiet and event.name not in ("scan-failed", "interrupted"):
            return
        if not event.lasting and time.monotonic() - self._last < self._every:
            return
        text = event.text
        facts: Mapping[str, Any] = event.facts
        if event.name == "step":
            text = (
                f"Epoch {facts['epoch']}, step {facts['step']} of {facts['steps']}: loss {facts['loss']:.4f}, "
                f"{duration(facts['left'])} left in it, {duration(facts['left_at_most'])} in all at most."
            )
        self._last = time.monotonic()
        self._console.print(text, markup=False)


def _print_counts(found: Mapping[str, Any], console: Console) -> None:
    """Scans, patients and labels of each split, then what cannot be used."""
    from rich.text import Text

    from hirescam_cli.cli.console import table

    splits = ("train", "valid", "test")
    head = table("", *splits, right=splits)
    for what in ("scans", "patients"):
        head.add_row(what, *(str(found[what][split]) for split in splits))
    console.print(head)
    columns = [f"{split} {mark}" for split in splits for mark in ("+", "-", "?")]
    labels = table("label", *columns, right=tuple(columns))
    for label, counts in found["labels"].items():
        parts = [counts[split][truth] for split in splits for truth in ("positive", "negative", "unknown")]
        labels.add_row(Text(label), *(str(part) for part in parts))
    console.print(labels)
    if not found["patients_known"]:
        console.print("No patients are named: each scan counts as a patient of its own.")
    if found["unusable"]:
        bad = table("scan", "line", "why", "code", title=f"Unusable ({len(found['unusable'])})")
        for problem in found["unusable"]:
            row = (problem["id"], str(problem["line"]), problem["message"], problem["code"])
            bad.add_row(*(Text(cell) for cell in row))
        console.print(bad)


def _print_figures(document: Mapping[str, Any], console: Console) -> None:
    """The labels of the best epoch."""
    from rich.text import Text

    from hirescam_cli.cli.console import table

    rows = table("label", "positive", "negative", "AUROC", "95 %", right=("positive", "negative", "AUROC"))
    rows.title = Text(f"Validation scans, epoch {document['best_epoch']}")
    for label, told in document["best"]["labels"].items():
        between = "" if told["low"] is None else f"{told['low']:.3f} to {told['high']:.3f}"
        area = "" if told["auroc"] is None else f"{told['auroc']:.3f}"
        rows.add_row(Text(label), str(told["positives"]), str(told["negatives"]), area, between)
    console.print(rows)
