"""The part of `hirescam evaluate` that asks the network: --referee, and how its findings are told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hirescam_cli.cli.options import Given
from hirescam_cli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from hirescam_cli.errors import HirescamError
    from hirescam_cli.evaluate.findings import Comparison, RefereeFindings, Span


def check_scans(given: Given, scan: list[str] | None) -> None:
    """Raise UsageError for --referee without --scan."""
    if given["referee"] is not None and not scan:
        raise UsageError(
            "--referee needs the scans, since it asks the network itself.",
            hint="Name their file or folder with --scan.",
        )


def run_referee(
    given: Given, out: Path, scan: list[str], methods: list[str], folder: Path
) -> tuple[RefereeFindings, tuple[tuple[str, HirescamError], ...]]:
    """Ask the network about the finished cases below `out`, and write referee.json into `folder`."""
    from hirescam_cli.cli.console import stderr, working
    from hirescam_cli.cli.inputs import parse_inputs
    from hirescam_cli.evaluate.referee import RefereeOptions
    from hirescam_cli.model.spec import load_spec
    from hirescam_cli.pipeline import open_session
    from hirescam_cli.refereeing import ask_cases, write
    from hirescam_cli.settings import Settings

    options = given.make(RefereeOptions)
    settings = Settings(
        model=given["model"], weights=given["weights"], methods=tuple(methods), device=given["device"]
    )
    session = open_session(settings, load_spec(settings.model))
    masks = (given["masks"], given["mask-labels"])
    console = stderr()
    with working() as say:

        def done(case: str) -> None:
            say(f"referee: {case} done")
            if not (console.is_terminal or given["quiet"]):
                console.print(f"referee: {case} done", markup=False)

        findings, failed = ask_cases(session, out, parse_inputs(scan), masks, methods, options, done)
    write(folder, findings)
    return findings, failed


def show_referee(console: Console, findings: RefereeFindings) -> None:
    """The verdict and the figures that it stands on."""
    from hirescam_cli.cli.console import table

    fills = ", ".join(findings.fills)
    console.print(
        f"\nReferee: occlusion of windows in the {findings.groups} highest slice groups of each label, "
        f"{findings.cases} cases, fills {fills}"
    )
    columns = ("fill", "Pearson", "same top cell")
    shown = table("method", "placement", *columns, right=columns[1:])
    for line in findings.overall:
        shown.add_row(line.method, line.placement, line.fill, _span(line.pearson), _span(line.top_cell))
    console.print(shown)
    for text in _differences(findings):
        console.print(text)
    differ = sorted({line.label for line in findings.labels if line.signs_differ})
    if differ:
        console.print(f"Fills disagree about the sign for: {', '.join(differ)}")
    verdict = findings.verdict
    answer = "undecided" if verdict.placement is None else f"{verdict.placement} explains the drops better"
    console.print(f"Verdict: {answer} ({verdict.reason}); the model says {findings.placement}")


def _differences(findings: RefereeFindings) -> list[str]:
    """A line for each comparison: over all fills, then by fill, since these may say different things."""
    lines = []
    for whole in findings.comparisons:
        if whole.fill is not None:
            continue
        where = f"{whole.method or whole.placement}, " + (
            "own windows" if whole.tiling is None else f"both in windows of {whole.tiling}"
        )
        parts = [
            f"{part.fill} {_span(part.difference)}"
            for part in findings.comparisons
            if part.fill is not None and _same(part, whole)
        ]
        lines.append(f"{whole.a} - {whole.b} ({where}): {_span(whole.difference)}; {', '.join(parts)}")
    return lines


def _same(part: Comparison, whole: Comparison) -> bool:
    """Whether two comparisons are of the same two sides."""
    return all(
        getattr(part, name) == getattr(whole, name)
        for name in ("what", "method", "placement", "tiling", "a", "b")
    )


def _span(span: Span | None) -> str:
    if span is None:
        return "-"
    interval = "" if span.low is None or span.high is None else f" [{span.low:.2f}, {span.high:.2f}]"
    return f"{span.mean:.2f}{interval}"
