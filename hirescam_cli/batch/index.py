"""What one looks at in the morning: batch.json, predictions.csv and log.jsonl, made from the cases."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from hirescam_cli.output.cases import iter_cases
from hirescam_cli.output.durable import replaced

INDEX_FILES = BATCH, PREDICTIONS, LOG = "batch.json", "predictions.csv", "log.jsonl"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS = ("case", "label", "index", "logit", "probability", "threshold", "positive")
_PER_METHOD = (
    "sum",
    "residual",
    "complete",
    "peak_value",
    "peak_i",
    "peak_j",
    "peak_k",
    "peak_x_mm",
    "peak_y_mm",
    "peak_z_mm",
)


class OutOfTimeError(Exception):
    """The index cannot be rebuilt in the seconds that a signal left."""


def write_index(
    out: Path, run: Mapping[str, Any] | None = None, remaining: Callable[[], float | None] = lambda: None
) -> dict[str, Any]:
    """Rebuild the three files from the cases below `out` and return the document of batch.json.

    `run`: facts of the run that just ended (exit code, what is left, what was ignored); None keeps those of the
    last one. `remaining`: seconds left to do it in, None for all of them; OutOfTimeError leaves the files as
    they were. Raises OutputCreateError or OutputIOError.
    """
    cases: list[dict[str, Any]] = []
    with ExitStack() as stack:
        log = stack.enter_context(_text(out / LOG))
        table = csv.writer(stack.enter_context(_text(out / PREDICTIONS)), lineterminator="\n")
        batch = stack.enter_context(_text(out / BATCH))
        methods: list[str] | None = None
        for summary in iter_cases(out):
            if remaining() == 0.0:
                raise OutOfTimeError
            case = str(summary["folder"])
            cases.append(_entry(case, summary))
            log.write(json.dumps(cases[-1], ensure_ascii=False, allow_nan=False) + "\n")
            labels = summary.get("labels") or ()
            if methods is None and labels:
                methods = list(labels[0].get("maps") or ())
                table.writerow(_header(methods))
            table.writerows(_row(case, label, methods or []) for label in labels)
        if methods is None:
            table.writerow(_header([]))
        document = _document(cases, _last_run(out) if run is None else run)
        json.dump(document, batch, indent=1, ensure_ascii=False, allow_nan=False)
        batch.write("\n")
    return document


def _last_run(out: Path) -> dict[str, Any] | None:
    """What batch.json tells of the last run; None where there was none or the file cannot be understood."""
    try:
        document = json.loads((out / BATCH).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    run = document.get("run") if isinstance(document, dict) else None
    return run if isinstance(run, dict) else None


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with replaced(path) as file:
        text = io.TextIOWrapper(
            file, encoding="utf-8", errors="surrogateescape", newline="", write_through=True
        )
        yield text
        text.flush()
        text.detach()


def _document(cases: list[dict[str, Any]], run: Mapping[str, Any] | None) -> dict[str, Any]:
    counts = Counter(entry["status"] for entry in cases)
    return {
        "schema_version": 1,
        "counts": {"ok": counts["ok"], "failed": counts["failed"]},
        "run": None if run is None else dict(run),
        "cases": cases,
    }


def _header(methods: Sequence[str]) -> list[str]:
    return [*_COLUMNS, *(f"{method}_{column}" for method in methods for column in _PER_METHOD)]


def _entry(case: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    labels: Sequence[Mapping[str, Any]] = summary.get("labels") or ()
    run = summary.get("run") or {}
    return {
        "case": case,
        "status": summary.get("status"),
        "started": summary.get("started"),
        "seconds": (run.get("seconds") or {}).get("total"),
        "error": summary.get("error"),
        "warnings": list(summary.get("warnings") or ()),
        "positive": [label["name"] for label in labels if label.get("positive")],
        "device": run.get("device"),
        "peak_memory_mib": run.get("peak_memory_mib"),
    }


def _row(case: str, label: Mapping[str, Any], methods: Sequence[str]) -> list[Any]:
    cells: list[Any] = [guarded(case), guarded(str(label["name"]))]
    cells += [_cell(label.get(column)) for column in _COLUMNS[2:]]
    for method in methods:
        values = (label.get("maps") or {}).get(method) or {}
        peak = values.get("peak") or {}
        cells += [_cell(values.get(column)) for column in ("sum", "residual", "complete")]
        cells.append(_cell(peak.get("value")))
        cells += [_cell(value) for value in peak.get("index_ijk") or (None, None, None)]
        cells += [_cell(value) for value in peak.get("world_mm") or (None, None, None)]
    return cells


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def guarded(text: str) -> str:
    """`text` as a CSV field that no spreadsheet runs as a formula: a quote before what would start one."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
