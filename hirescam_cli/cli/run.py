"""Carrying out `explain` for a person: discover, plan, run, say what happened, end with the right code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hirescam_cli.errors import ExitCode

if TYPE_CHECKING:
    from rich.table import Table

    from hirescam_cli.batch.options import RunOptions
    from hirescam_cli.batch.plan import Plan
    from hirescam_cli.batch.run import BatchResult
    from hirescam_cli.io.scan import InputPath
    from hirescam_cli.model.spec import ModelSpec
    from hirescam_cli.settings import Settings

_CASES_IN_TABLE = 20


@dataclass(frozen=True)
class Messages:
    """How a run talks: `as_json` keeps stdout for one document, the log goes to stderr and `log_file`."""

    as_json: bool = False
    log_file: Path | None = None
    log_format: str = "text"
    quiet: bool = False
    verbose: int = 0


def run_explain(
    inputs: Sequence[InputPath],
    output: Path,
    settings: Settings,
    spec: ModelSpec,
    options: RunOptions,
    *,
    parts: tuple[int | None, int | None],
    dry_run: bool,
    messages: Messages,
) -> None:
    """The body of `hirescam explain`; raises HirescamError or typer.Exit."""
    if dry_run:
        _print_plan(_plan(inputs, output, settings, parts), messages)
        return
    result = run_cases(inputs, output, settings, spec, options, parts=parts, messages=messages)
    if messages.as_json and result.document is not None:
        from hirescam_cli.cli.console import print_json

        print_json(result.document)
    elif not messages.quiet:
        _print_findings(output, [case for case in result.cases if case], settings)
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
) -> BatchResult:
    """Discover, plan and run; says on stderr what the model is and how the cases end."""
    from hirescam_cli.batch.progress import reporter
    from hirescam_cli.batch.run import run
    from hirescam_cli.pipeline import model_warnings

    with reporter(
        quiet=messages.quiet,
        verbose=messages.verbose,
        log_file=messages.log_file,
        log_format=messages.log_format,
    ) as report:
        for warning in model_warnings(spec):
            report.warn(warning)
        plan = _plan(inputs, output, settings, parts)
        for ignored in plan.ignored:
            report.ignored(ignored)
        return run(plan, settings, options, report.event)


def _plan(
    inputs: Sequence[InputPath], output: Path, settings: Settings, parts: tuple[int | None, int | None]
) -> Plan:
    from hirescam_cli.batch.plan import plan
    from hirescam_cli.io import discover

    discovery = discover(inputs, settings.read, settings.identifiers)
    return plan(discovery, output, num_parts=parts[0], part_id=parts[1])


def _print_plan(plan: Plan, messages: Messages) -> None:
    document = plan.document()
    if messages.as_json:
        from hirescam_cli.cli.console import print_json

        print_json(document)
        return
    from hirescam_cli.cli.console import stdout, table

    cases = table("case", "kind", "files", "exists", right=("files",))
    for case in document["cases"]:
        cases.add_row(case["case"], case["kind"], str(case["files"]), "yes" if case["exists"] else "no")
    console = stdout()
    console.print(cases)
    if document["ignored"]:
        left_out = table("left out", "reason")
        for ignored in document["ignored"]:
            left_out.add_row(ignored["name"], ignored["reason"])
        console.print(left_out)
    console.print(f"{len(document['cases'])} of {document['total']} cases are this run's.")


def _print_findings(output: Path, cases: Sequence[str], settings: Settings) -> None:
    """A table of the findings of each case (of the first ones, in a long run)."""
    from hirescam_cli.cli.console import stdout

    console = stdout()
    for case in cases[:_CASES_IN_TABLE]:
        try:
            summary = json.loads((output / case / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if summary["status"] == "ok":
            console.print(findings_table(case, summary, settings.methods))
    if len(cases) > _CASES_IN_TABLE:
        console.print(f"... and {len(cases) - _CASES_IN_TABLE} more cases: see {output / 'predictions.csv'}")


def findings_table(case: str, summary: Mapping[str, Any], methods: Sequence[str]) -> Table:
    """The labels of one case that got an overlay or picture, or else are positive, most probable first."""
    from rich.text import Text

    from hirescam_cli.cli.console import table

    rows = table(
        "label", "probability", "method", "peak (mm RAS)", "certificate", "file", right=("probability",)
    )
    rows.title = Text(case)
    shown = [e for e in summary["labels"] if any(m["overlay"] or m["picture"] for m in e["maps"].values())]
    shown = shown or [e for e in summary["labels"] if e["positive"]]
    for entry in sorted(shown, key=lambda e: -e["logit"]):
        for method in methods:
            maps = entry["maps"][method]
            rows.add_row(
                Text(entry["name"]),
                f"{entry['probability']:.3f}{'' if entry['positive'] else ' (below threshold)'}",
                method,
                " ".join(f"{value:.0f}" for value in maps["peak"]["world_mm"]),
                "complete" if maps["complete"] else f"residual {maps['residual']:.1e}",
                Text(maps["overlay"] or maps["picture"] or ""),
            )
    return rows
