"""Carrying out `explain` for a person: discover, plan, run, say what happened, end with the right code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hirescam_cli.errors import ExitCode
from hirescam_cli.options import stated

if TYPE_CHECKING:
    from rich.table import Table

    from hirescam_cli.batch.options import RunOptions
    from hirescam_cli.batch.plan import Plan
    from hirescam_cli.batch.result import BatchResult
    from hirescam_cli.case.record import Case
    from hirescam_cli.cli.explain import Destination
    from hirescam_cli.io.scan import InputPath
    from hirescam_cli.model.spec import ModelSpec
    from hirescam_cli.settings import Settings

_CASES_IN_TABLE = 20


@dataclass(frozen=True)
class Messages:
    """How a run talks: `as_json` keeps stdout for one document, the log goes to stderr and `log_file`."""

    as_json: bool = stated("json")
    log_file: Path | None = stated("log-file")
    log_format: str = stated("log-format")
    quiet: bool = stated("quiet")
    verbose: int = stated("verbose")


def run_explain(
    inputs: Sequence[InputPath],
    settings: Settings,
    spec: ModelSpec,
    options: RunOptions,
    destination: Destination,
    *,
    messages: Messages,
) -> None:
    """The body of `hirescam explain`; raises HirescamError or typer.Exit."""
    output, parts = destination.output, (destination.num_parts, destination.part_id)
    if destination.dry_run:
        _print_plan(_plan(inputs, output, settings, parts), messages)
        return
    plan, result = run_cases(inputs, output, settings, spec, options, parts=parts, messages=messages)
    if messages.as_json:
        from hirescam_cli.batch.told import document

        sys.stdout.writelines(document(plan, result, sys.stdout.encoding))
    elif not messages.quiet:
        _print_findings(output, result, settings)
    if result.exit_code != ExitCode.OK:
        raise typer.Exit(result.exit_code)


def run_cases(
    inputs: Sequence[InputPath],
    output: Path,
    settings: Settings,
    spec: ModelSpec,
    options: RunOptions,
    *,
    parts: tuple[int | None, int | None] = (None, None),
    messages: Messages,
    companions: tuple[str, ...] = (),
) -> tuple[Plan, BatchResult]:
    """Discover, plan and run; says on stderr what the model is and how the cases end.

    `companions`: endings of files that belong beside scans and are not worth a message.
    """
    from hirescam_cli.batch.plan import summed_up
    from hirescam_cli.batch.progress import reporter
    from hirescam_cli.batch.run import run
    from hirescam_cli.pipeline import model_warnings

    _make_room_for_log(messages.log_file, output)
    with reporter(
        quiet=messages.quiet,
        verbose=messages.verbose,
        log_file=messages.log_file,
        log_format=messages.log_format,
    ) as report:
        for warning in model_warnings(spec):
            report.warn(warning)
        plan = _plan(inputs, output, settings, parts)
        for ignored in summed_up(item for item in plan.ignored if not item.name.endswith(companions)):
            report.ignored(ignored)
        return plan, run(plan, settings, options, report.event)


def _make_room_for_log(log_file: Path | None, output: Path) -> None:
    """Make the folder of a log that lies in the output, which the run itself makes only later."""
    if log_file is None or not log_file.resolve().is_relative_to(output.resolve()):
        return
    from hirescam_cli.durable import output_error

    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, log_file.parent.name) from error


def _plan(
    inputs: Sequence[InputPath], output: Path, settings: Settings, parts: tuple[int | None, int | None]
) -> Plan:
    from hirescam_cli.batch.plan import plan
    from hirescam_cli.io import discover

    discovery = discover(inputs, settings.read, settings.identifiers, output)
    return plan(discovery, output, num_parts=parts[0], part_id=parts[1])


def _print_plan(plan: Plan, messages: Messages) -> None:
    if messages.as_json:
        from hirescam_cli.cli.console import print_json

        print_json(plan.document())
        return
    from rich.text import Text

    from hirescam_cli.cli.console import print_table, stdout, table

    cases = table("case", "kind", "files", "exists", right=("files",), names=("case",))
    for scan in plan.scans:
        cases.add_row(Text(scan.case), scan.kind, str(len(scan.files)), "yes" if plan.exists(scan) else "no")
    console = stdout()
    print_table(console, cases)
    if plan.ignored:
        left_out = table("left out", "reason", names=("left out",))
        for ignored in plan.ignored:
            left_out.add_row(Text(ignored.name), Text(ignored.reason))
        print_table(console, left_out)
    console.print(f"{len(plan.scans)} of {plan.total} cases are this run's.")


def _print_findings(output: Path, result: BatchResult, settings: Settings) -> None:
    """A table of the findings of each case (of the first ones, in a long run)."""
    from hirescam_cli.case.listing import read_case
    from hirescam_cli.case.record import Case
    from hirescam_cli.cli.console import print_table, stdout

    console, cases = stdout(), result.cases
    for case in cases[:_CASES_IN_TABLE]:
        # What this run did not make itself (an earlier one did, or a worker elsewhere) is read.
        record = result.records.get(case) or read_case(output / case, case)
        if isinstance(record, Case):
            print_table(console, findings_table(case, record, settings.methods))
    if len(cases) > _CASES_IN_TABLE:
        more = f"... and {len(cases) - _CASES_IN_TABLE} more cases: see {output / 'predictions.csv'}"
        console.print(more, markup=False)


def findings_table(name: str, case: Case, methods: Sequence[str]) -> Table:
    """The labels of one case that got an overlay or picture, or else are positive, most probable first."""
    from rich.text import Text

    from hirescam_cli.cli.console import table

    rows = table(
        "label",
        "probability",
        "method",
        "peak (mm RAS)",
        "certificate",
        "file",
        right=("probability",),
        names=("label", "file"),
    )
    rows.title = Text(name)
    drawn = {output.label for output in case.outputs}
    shown = [label for label in case.ranked if label.name in drawn]
    for label in shown or [label for label in case.ranked if label.positive]:
        for method in methods:
            found = label.maps[method]
            files = (
                case.outputs_of(method, label.name, "overlay")
                or case.outputs_of(method, label.name, "picture")
                or case.outputs_of(method, label.name, "dicom")[:1]
            )
            rows.add_row(
                Text(label.name),
                f"{label.probability:.3f}{'' if label.positive else ' (below threshold)'}",
                method,
                " ".join(f"{value:.0f}" for value in found.peak.world_mm),
                "complete" if found.complete else f"residual {found.residual:.1e}",
                Text(files[-1].path if files else ""),
            )
    return rows
