"""What `explain --json` prints: the run, and each of its cases with input, folder, model, logits and probabilities.

The document is that of batch.json for the cases of this run alone, with more about each: a script needs no other file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hirescam_cli.batch.index import SCHEMA_VERSION
from hirescam_cli.batch.plan import Plan
from hirescam_cli.batch.result import BatchResult
from hirescam_cli.case.document import plain
from hirescam_cli.case.listing import read_case
from hirescam_cli.case.record import AnyCase, Case, CaseError, FailedCase, Model
from hirescam_cli.io.scan import Scan
from hirescam_cli.json_text import json_text
from hirescam_cli.warning import Warning


class InputTold(msgspec.Struct, frozen=True, kw_only=True):
    """Where a case came from: `path` as it was given (of a series its folder), the rest as in summary.json."""

    path: str
    name: str
    kind: str
    series_uid: str | None
    volume: int
    fingerprint: str | None = None
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    orientation: str | None = None


class LabelTold(msgspec.Struct, frozen=True, kw_only=True):
    """The network's answer for a label."""

    name: str
    index: int
    logit: float
    probability: float
    threshold: float
    positive: bool


class CaseTold(msgspec.Struct, frozen=True, kw_only=True):
    """A case of the run. `folder`: where its files lie, below --output as it was given; `labels`: [] if it failed."""

    case: str
    folder: str
    status: str
    input: InputTold
    model: Model | None
    labels: tuple[LabelTold, ...]
    positive: tuple[str, ...]
    error: CaseError | None
    warnings: tuple[Warning, ...]
    started: str | None
    seconds: float | None
    device: str | None
    peak_memory_mib: float | None


def document(plan: Plan, result: BatchResult, encoding: str | None = None) -> Iterator[str]:
    """The document as pieces of JSON text, a line a case, so that memory does not grow with their number.

    `encoding`: that of the stream that they are written to; what it lacks is escaped.
    """
    facts = {
        "schema_version": SCHEMA_VERSION,
        "counts": {"ok": result.done + result.skipped, "failed": result.failed},
        "run": _run(plan, result),
    }
    yield json_text(facts, encoding)[:-1] + ', "cases": ['
    separator = "\n"
    for case in cases_told(plan, result):
        yield separator + json_text(plain(case), encoding)
        separator = ",\n"
    yield "\n]}\n"


def cases_told(plan: Plan, result: BatchResult) -> Iterator[CaseTold]:
    """The cases of the plan that came to an end, in its order, read from their folders."""
    failures = dict(result.failures)
    ended = {*result.cases, *failures}
    for scan in plan.scans:
        if scan.case not in ended:
            continue
        folder = plan.out / scan.case
        record = read_case(folder, scan.case)
        if record is None or (scan.case in failures and not isinstance(record, FailedCase)):
            # The folder that says why could not be written, or holds what an earlier run made.
            why = failures.get(scan.case)
            error = CaseError(
                code=why.code if why else "summary-missing",
                stage=why.stage if why else "report",
                message=why.message if why else "The case folder has gone.",
                hint=why.hint if why else None,
            )
            record = FailedCase(schema_version=2, case=scan.case, started=None, error=error)
        yield _told(scan, folder, record)


def _told(scan: Scan, folder: Path, record: AnyCase) -> CaseTold:
    run = record.run
    return CaseTold(
        case=scan.case,
        folder=str(folder),
        status="ok" if isinstance(record, Case) else "failed",
        input=_input(scan, record),
        model=record.model,
        labels=tuple(
            LabelTold(
                name=label.name,
                index=label.index,
                logit=label.logit,
                probability=label.probability,
                threshold=label.threshold,
                positive=label.positive,
            )
            for label in record.labels
        ),
        positive=tuple(label.name for label in record.labels if label.positive),
        error=record.error,
        warnings=record.warnings,
        started=record.started,
        seconds=None if run is None else run.seconds.total,
        device=None if run is None else run.device,
        peak_memory_mib=None if run is None else run.peak_memory_mib,
    )


def _input(scan: Scan, record: AnyCase) -> InputTold:
    found = record.input
    told = InputTold(
        path=input_path(scan), name=scan.name, kind=scan.kind, series_uid=scan.series_uid, volume=scan.volume
    )
    if found is None:
        return told
    return msgspec.structs.replace(
        told,
        kind=found.kind,
        fingerprint=found.fingerprint,
        shape=found.shape,
        spacing_mm=found.spacing_mm,
        orientation=found.orientation,
    )


def input_path(scan: Scan) -> str:
    """The path of a scan as it was given: its file (of a pair the header), or the folder of its series."""
    files = [str(path) for path in scan.files]
    folders = {os.path.dirname(file) for file in files}
    if len(files) == 1 or (len(folders) == 1 and scan.selector is None):
        return files[0]
    return os.path.commonpath(folders) or "."


def _run(plan: Plan, result: BatchResult) -> dict[str, object]:
    part = plan.part
    return {
        "done": result.done,
        "skipped": result.skipped,
        "failed": result.failed,
        "left": result.left,
        "seconds": result.seconds,
        "exit_code": result.exit_code,
        "stopped": result.stopped,
        "output": str(plan.out),
        "part": None if part is None else {"index": part.index, "count": part.count},
        "ignored": [{"name": i.name, "code": i.code, "reason": i.reason} for i in plan.ignored],
    }
