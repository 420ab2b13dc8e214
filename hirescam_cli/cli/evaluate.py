"""`hirescam evaluate`: are the explanations right? Finished cases against masks, without the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hirescam_cli.cli.options import Given, setup_streams, with_options
from hirescam_cli.cli.referee import check_scans, run_referee, show_referee
from hirescam_cli.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from hirescam_cli.evaluate.record import Evaluation

_MOST_PROBLEMS = 10
_MOST_COLUMNS = 8


@with_options(
    "method", "labels", "seed", "masks", "mask-labels", "regions", "truth", "group", "tolerance-mm", "bootstrap",
    "compare", "papers", "existing", "jobs", "referee", "groups", "fill", "model", "weights", "device", "json",
    "quiet",
    panels=False,
    defaults={"method": None, "labels": "all"},
    helps={
        "method": "Of those that the cases hold; repeatable. [default: all]",
        "labels": "all, or names.",
        "existing": "What to do with an earlier evaluation.",
        "jobs": "Processes. [default: 1]",
        "model": "Of the cases, for --referee.",
        "weights": "Of the cases, for --referee; repeatable (an ensemble).",
        "device": "Where the network runs, for --referee.",
        "json": "Print evaluation.json on stdout, nothing else.",
    },
)  # fmt: skip
def evaluate_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder of hirescam explain.")],
    given: Given,
    placement: Annotated[
        str,
        typer.Option(
            "--placement",
            metavar="model|both",
            envvar="HIRESCAM_EVALUATE_PLACEMENT",
            show_envvar=True,
            help="Where cells lie: as each case was explained, or every placement.",
        ),
    ] = "model",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help=r"Folder of the results. \[default: OUT/evaluation]"
        ),
    ] = None,
    scan: Annotated[
        list[str] | None,
        typer.Option(
            "--scan", metavar="INPUT", help="For --referee: the scans, or folders of them; repeatable."
        ),
    ] = None,
) -> None:
    """Measure whether maps point at what they explain: finished cases against masks, without the network."""
    setup_streams(quiet=given["quiet"], verbose=0)
    from hirescam_cli.cli.console import print_json, stderr, working
    from hirescam_cli.evaluate.document import as_document
    from hirescam_cli.evaluate.options import EvaluateOptions
    from hirescam_cli.evaluate.run import evaluate

    check_scans(given, scan)
    options = given.make(EvaluateOptions, placement=placement)
    with working() as say:
        result = evaluate(out, options, output, say)
    record = result.record
    document, failed = as_document(record), 0
    if not (given["json"] or given["quiet"]):
        _show(record)
    if given["referee"] is not None:
        failed = _referee(given, out, scan or [], list(record.methods), result.folder, document)
    if given["json"]:
        print_json(document)
    elif not given["quiet"]:
        typer.echo(f"\n{result.folder}: {'already done' if result.already else 'written'}")
    for problem in record.problems[:_MOST_PROBLEMS]:
        stderr().print(f"{problem.path}: {problem.text}", markup=False)
    if len(record.problems) > _MOST_PROBLEMS:
        stderr().print(
            f"... and {len(record.problems) - _MOST_PROBLEMS} more: see evaluation.json", markup=False
        )
    if record.problems:
        stderr().print(f"{len(record.problems)} masks or cases could not be used.", markup=False)
    if record.problems or failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _referee(
    given: Given, out: Path, scan: list[str], methods: list[str], folder: Path, document: dict[str, object]
) -> int:
    """Ask the network, tell what it said, add it to the document; how many cases could not be asked."""
    from hirescam_cli.case.document import plain
    from hirescam_cli.cli.console import stderr, stdout

    findings, failed = run_referee(given, out, scan, methods, folder)
    document["referee"] = plain(findings)
    if not (given["json"] or given["quiet"]):
        show_referee(stdout(), findings)
    for case, error in failed:
        stderr().print(f"{case}: {error}", markup=False)
    return len(failed)


def _show(record: Evaluation) -> None:
    from hirescam_cli.cli.console import stdout
    from hirescam_cli.evaluate.tables import printed, printed_papers, printed_runs

    console = stdout()
    if any(model.demonstration for model in record.models):
        console.print("The demonstration model: its figures say nothing of a real network.")
    console.print(
        f"{record.cases.with_masks} of {record.cases.finished} cases with masks, {record.cases.patients} patients; "
        "true positives only, shares of the positive evidence, median distances (means in brackets)"
    )
    for placement in record.placements:
        for method, title in record.methods.items():
            _print_table(console, f"{title}, placement {placement}", *printed(record, method, placement))
    for placement in record.placements:
        for method, title in record.methods.items():
            heading = f"{title}, placement {placement}: this run minus the other"
            _print_table(console, heading, *printed_runs(record, method, placement))
    _print_table(console, "The papers' measures", *printed_papers(record))
    lost = [
        f"{sum(getattr(one, name) for one in record.counts)} {text}"
        for name, text in (
            ("unmarked", "unmarked"),
            ("empty", "with an empty mask"),
            ("out_of_view", "outside the network's view"),
        )
        if any(getattr(one, name) for one in record.counts)
    ]
    if lost:
        console.print(f"\nLeft out: {', '.join(lost)} (pairs of case and label).")
    others = record.unused_columns
    if others:
        more = f" and {len(others) - _MOST_COLUMNS} more" if len(others) > _MOST_COLUMNS else ""
        console.print(
            f"\nColumns of --truth that are no label: {', '.join(others[:_MOST_COLUMNS])}{more}.",
            markup=False,
        )


def _print_table(console: Console, title: str, header: list[str], rows: list[list[str]]) -> None:
    """A table; none without rows."""
    from hirescam_cli.cli.console import table

    if not rows:
        return
    shown = table(*header, title=f"\n{title}", right=tuple(header[1:]))
    for row in rows:
        shown.add_row(*row, style="bold" if row[0].startswith("mean over") else None)
    console.print(shown)
