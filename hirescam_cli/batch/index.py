"""What one looks at in the morning: batch.json, predictions.csv and log.jsonl, made from the cases."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from hirescam_cli.batch.lock import index_lock
from hirescam_cli.case.document import plain
from hirescam_cli.case.listing import iter_cases
from hirescam_cli.case.record import AnyCase, Label
from hirescam_cli.durable import replaced

INDEX_FILES = BATCH, PREDICTIONS, LOG = "batch.json", "predictions.csv", "log.jsonl"
SCHEMA_VERSION = 2
_IN_MEMORY = 16 << 20
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS = ("case", "label", "index", "logit", "probability", "threshold", "positive")
_PER_METHOD = (
    "sum", "bias", "residual", "complete", "peak_value", "peak_i", "peak_j", "peak_k", "peak_x_mm", "peak_y_mm",
    "peak_z_mm",
)  # fmt: skip

Document = dict[str, object]


class OutOfTimeError(Exception):
    """The index cannot be rebuilt in the seconds that a signal left."""


def write_index(
    out: Path,
    run: Mapping[str, object] | None = None,
    remaining: Callable[[], float | None] = lambda: None,
) -> Document:
    """Rebuild the three files from the cases below `out` and return the document of batch.json.

    `run`: facts of the run that just ended (exit code, what is left, what was ignored); None keeps those of the
    last one. `remaining`: seconds left to do it in, None for all of them; OutOfTimeError leaves the files as
    they were. Parts of a run that share `out` do so one after the other. Raises OutputCreateError or OutputIOError.
    """
    cases: list[Document] = []
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        if not stack.enter_context(index_lock(out, remaining)):
            raise OutOfTimeError
        log = stack.enter_context(_text(out / LOG))
        predictions = stack.enter_context(_text(out / PREDICTIONS))
        batch = stack.enter_context(_text(out / BATCH))
        table = stack.enter_context(_Table())
        for listed in iter_cases(out):
            if remaining() == 0.0:
                raise OutOfTimeError
            case = listed.case
            cases.append(_entry(listed.folder, case))
            counts["failed" if case.error else "ok"] += 1
            log.write(json.dumps(cases[-1], ensure_ascii=False, allow_nan=False) + "\n")
            table.add(listed.folder, case.labels)
        table.write(predictions)
        last = _last_run(out) if run is None else dict(run)
        document: Document = {
            "schema_version": SCHEMA_VERSION,
            "counts": {"ok": counts["ok"], "failed": counts["failed"]},
            "run": last,
            "cases": cases,
        }
        json.dump(document, batch, indent=1, ensure_ascii=False, allow_nan=False)
        batch.write("\n")
    return document


class _Table:
    """The rows of predictions.csv, with columns for every method that any case has, by first appearance. A context."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self._widths: set[int] = set()
        self._rows = tempfile.SpooledTemporaryFile(  # noqa: SIM115
            _IN_MEMORY, "w+", encoding="utf-8", errors="surrogateescape", newline=""
        )
        self._writer = csv.writer(self._rows, lineterminator="\n")

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def add(self, case: str, labels: Iterable[Label]) -> None:
        """Rows for the labels of a case."""
        for label in labels:
            self.methods += [method for method in label.maps if method not in self.methods]
            self._widths.add(len(self.methods))
            self._writer.writerow(_row(case, label, self.methods))

    def write(self, file: TextIO) -> None:
        """The header and all rows, those of cases without the last methods filled up."""
        header = _header(self.methods)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        self._rows.seek(0)
        if len(self._widths) <= 1:
            shutil.copyfileobj(self._rows, file)
            return
        writer.writerows(row + [""] * (len(header) - len(row)) for row in csv.reader(self._rows))


def _last_run(out: Path) -> Document | None:
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


def _header(methods: Sequence[str]) -> list[str]:
    return [*_COLUMNS, *(f"{method}_{column}" for method in methods for column in _PER_METHOD)]


def _entry(folder: str, case: AnyCase) -> Document:
    return {
        "case": folder,
        "status": "failed" if case.error else "ok",
        "started": case.started,
        "seconds": None if case.run is None else case.run.seconds.total,
        "error": plain(case.error),
        "warnings": plain(case.warnings),
        "positive": [label.name for label in case.labels if label.positive],
        "device": None if case.run is None else case.run.device,
        "peak_memory_mib": None if case.run is None else case.run.peak_memory_mib,
    }


def _row(case: str, label: Label, methods: Sequence[str]) -> list[object]:
    cells: list[object] = [guarded(case), guarded(label.name), label.index, label.logit, label.probability]
    cells += [label.threshold, _flag(label.positive)]
    for method in methods:
        found = label.maps.get(method)
        if found is None:
            cells += [""] * len(_PER_METHOD)
            continue
        cells += [found.sum, found.bias, found.residual, _flag(found.complete), found.peak.value]
        cells += found.peak.index_ijk or ("", "", "")
        cells += found.peak.world_mm
    return cells


def _flag(value: bool) -> str:
    return "true" if value else "false"


def guarded(text: str) -> str:
    """`text` as a CSV field that no spreadsheet runs as a formula: a quote before what would start one."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
