"""summary.json of a training: what it was of, how it went, what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hirescam_cli.durable import write_file
from hirescam_cli.errors import HirescamError
from hirescam_cli.train.plan import Plan
from hirescam_cli.train.publish import METRICS, MODEL, VALIDATION, WEIGHTS
from hirescam_cli.train.records import Progress
from hirescam_cli.train.table import Split, Table

SUMMARY, SCHEMA_VERSION = "summary.json", 1
TRAINED: tuple[Split, ...] = ("train", "valid")
"""The splits that a training looks at."""


def write_summary(
    plan: Plan,
    progress: Progress,
    status: str,
    facts: Mapping[str, object],
    error: HirescamError | None = None,
) -> dict[str, object]:
    """Write summary.json and return it. Raises OutputCreateError or OutputIOError."""
    run = plan.request.control.output
    used = plan.table.without(progress.failed)
    best = None
    if progress.best_epoch is not None:
        best = next(figures for figures in progress.history if figures.epoch == progress.best_epoch)
    told = None
    if error is not None:
        told = {"code": error.code, "stage": error.stage, "message": error.message, "hint": error.hint}
    document: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "status": status,
        "error": told,
        "model": plan.spec.name,
        "architecture": plan.spec.architecture,
        "identity": dict(plan.identity),
        "device": str(plan.device),
        "precision": plan.precision,
        "deterministic": plan.device.type == "cpu" or plan.request.options.deterministic,
        "fallbacks": list(plan.fallbacks),
        "start": {"sha256": plan.start.sha256, "unused": list(plan.start.unused)},
        "scans": {split: len(used.of(split)) for split in TRAINED},
        "scans_left_out": left_out(plan.table, progress),
        "labels": used.counts(),
        "epochs": progress.epoch,
        "steps": progress.total_steps,
        "best_epoch": progress.best_epoch,
        "best": None if best is None else msgspec.to_builtins(best),
        "failed": dict(progress.failed),
        "seconds": round(progress.seconds + progress.epoch_seconds, 3),
        "files": _files(run) if best is not None else [],
        **facts,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_file(run / SUMMARY, text.encode())
    return document


def left_out(table: Table, progress: Progress) -> dict[str, int]:
    """How many scans of each split could not be used."""
    return {split: sum(row.id in progress.failed for row in table.of(split)) for split in TRAINED}


def _files(run: Path) -> list[str]:
    return [name for name in (MODEL, WEIGHTS, VALIDATION, METRICS) if (run / name).is_file()]
