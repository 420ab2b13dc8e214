"""The tables of an evaluation: cases.csv, labels.csv, ledger.csv, and what is printed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path

from hirescam_cli.evaluate.measures import Measures, Place
from hirescam_cli.evaluate.pairs import Entry, Pair
from hirescam_cli.evaluate.record import Difference, Evaluation, Figure, LabelResult

_LEDGER_COLUMNS = ["case", "label", "method", "placement", "region", "logits"]
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_ANSWER = ("case", "patient", "split", "label")
_PLACE = tuple(field.name for field in fields(Place))
_MEASURES = tuple(field.name for field in fields(Measures))
_OF_ANSWER, _OF_PLACE, _OF_MEASURES = attrgetter(*_ANSWER), attrgetter(*_PLACE), attrgetter(*_MEASURES)
_NO_PLACE, _NO_MEASURES = (None,) * len(_PLACE), (None,) * len(_MEASURES)
Cell = str | int | float | bool | None


def cases_csv(pairs: Sequence[Pair]) -> str:
    """A row for each case, label, method and placement; empty cells where a figure is not defined."""
    header = [*_ANSWER, "method", "placement", "outcome", "mask", "logit", "probability", *_PLACE, *_MEASURES]
    return _csv(header, (_pair(pair) for pair in pairs))


def _pair(pair: Pair) -> list[Cell]:
    answer = pair.answer
    return [
        *_OF_ANSWER(answer),
        pair.method, pair.placement, answer.outcome, answer.mask, answer.logit, answer.probability,
        *(_OF_PLACE(pair.place) if pair.place else _NO_PLACE),
        *(_OF_MEASURES(pair.measures) if pair.measures else _NO_MEASURES),
    ]  # fmt: skip


def labels_csv(record: Evaluation) -> str:
    """A row for each label, method, placement, group and measure."""
    header = ["label", "method", "placement", "group", "measure", "mean", "low", "high", "n", "patients"]
    rows: list[list[Cell]] = []
    for one in record.results:
        for measure, found in one.measures.items():
            rows.append([one.label, one.method, one.placement, one.group, measure, *_figure(found)])
    for mean in record.overall:
        for measure, found in mean.measures.items():
            name = f"(mean over {mean.over})"
            rows.append([name, mean.method, mean.placement, mean.group, measure, *_figure(found)])
    return _csv(header, rows)


def ledger_csv(entries: Iterable[Entry]) -> str:
    """A row for each part of a logit; those of one case, label, method and placement add up to it."""
    rows: list[list[Cell]] = [[e.case, e.label, e.method, e.placement, e.region, e.logits] for e in entries]
    return _csv(_LEDGER_COLUMNS, rows)


def read_ledger(path: Path, case: str, placement: str) -> tuple[tuple[str, str, str, float], ...]:
    """(label, method, region, logits) of a case under a placement; () where the file is not there or another's."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.reader(file)
            if next(table, []) != _LEDGER_COLUMNS:
                return ()
            rows = [[_text(cell) for cell in row] for row in table if len(row) == len(_LEDGER_COLUMNS)]
        return tuple(
            (label, method, region, float(logits))
            for name, label, method, placed, region, logits in rows
            if (name, placed) == (case, placement)
        )
    except (OSError, ValueError, csv.Error):
        return ()


def _text(cell: str) -> str:
    """A cell without the mark that `_cell` puts before what a spreadsheet would take for a formula."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell


def _figure(found: Figure) -> list[Cell]:
    return [found.mean, found.low, found.high, found.n, found.patients]


def _csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    # There may be millions of cells, and all but the numbers come again and again.
    safe = _Safe()
    table.writerows([cell if type(cell) is float else safe[cell] for cell in row] for row in rows)
    return text.getvalue()


class _Safe(dict[Cell, Cell]):
    """`_cell` of every value that was asked for before."""

    def __missing__(self, value: Cell) -> Cell:
        found = self[value] = _cell(value)
        return found


def _cell(value: Cell) -> Cell:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, bool):
        return int(value)
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


PRINTED = ("label", "n", "hit", "near", "blind", "evidence in", "chance", "score", "distance")


def printed(record: Evaluation, method: str, placement: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table that is shown for a method and placement: true positives, then the means.

    With a second method, its paired difference in evidence_in stands beside, with its interval.
    """
    others = [name for name in record.methods if name != method]
    first = next(iter(record.methods))
    against = others[0] if others and method == first else None
    header = list(PRINTED) + ([f"evidence in, minus {record.methods[against]}"] if against else [])
    rows = []
    for one in record.results:
        if (one.method, one.placement, one.group) == (method, placement, "true_positives"):
            rows.append(_printed_row(record, one, against))
    for mean in record.overall:
        if (mean.method, mean.placement, mean.group) == (method, placement, "true_positives"):
            row = [f"mean over {mean.over}", str(mean.measures["hit"].n)]
            row += _shown(mean.measures)
            row.append(_millimetres(mean.measures.get("distance_mm"), None))
            if against:
                row.append(_difference(record, placement, against, None, mean.over))
            rows.append(row)
    return header, rows


def _printed_row(record: Evaluation, one: LabelResult, against: str | None) -> list[str]:
    row = [one.label, str(one.n), *_shown(one.measures)]
    row.append(_millimetres(None, one.distance_median_mm))
    if against:
        row.append(_difference(record, one.placement, against, one.label, "label"))
    return row


def _shown(measures: dict[str, Figure]) -> list[str]:
    forms = {"hit": "%", "near": "%", "blind": "%", "evidence_in": "", "chance": "", "score": ""}
    return [_mean(measures.get(name), form) for name, form in forms.items()]


def _mean(found: Figure | None, form: str) -> str:
    if found is None:
        return "-"
    return f"{found.mean:.0%}" if form == "%" else f"{found.mean:.3f}"


def _millimetres(mean: Figure | None, median: float | None) -> str:
    if median is not None:
        return f"{median:.0f} mm"
    return "-" if mean is None else f"({mean.mean:.0f} mm)"


def _difference(record: Evaluation, placement: str, against: str, label: str | None, over: str) -> str:
    for one in record.differences:
        if (one.what, one.placement, one.b, one.label, one.over, one.group, one.measure) == (
            "methods", placement, against, label, over, "true_positives", "evidence_in",
        ):  # fmt: skip
            return shown_difference(one)
    return "-"


def shown_difference(one: Difference) -> str:
    """A difference with its interval, and its adjusted p where there is one."""
    found = one.difference
    text = f"{found.mean:+.3f}"
    if found.low is not None and found.high is not None:
        text += f" [{found.low:+.3f}, {found.high:+.3f}]"
    p = one.p if one.p_holm is None else one.p_holm
    return text if p is None else f"{text} p {p:.4f}"


COMPARED = ("hit", "near", "evidence_in", "score", "ap")


def printed_runs(record: Evaluation, method: str, placement: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what is shown of two runs: this one minus the other, true positives; no rows without one."""
    found: dict[str, dict[str, Difference]] = {}
    for one in record.differences:
        if (one.what, one.method, one.placement, one.group) == ("runs", method, placement, "true_positives"):
            name = one.label if one.over == "label" and one.label else f"mean over {one.over}"
            found.setdefault(name, {})[one.measure] = one
    header = ["label", "n", *(name.replace("_", " ") for name in COMPARED)]
    rows = []
    for name, measures in sorted(found.items(), key=lambda item: item[0].startswith("mean over")):
        shown = [shown_difference(measures[m]) if m in measures else "-" for m in COMPARED]
        rows.append([name, str(max(one.difference.n for one in measures.values())), *shown])
    return header, rows


def printed_papers(record: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the papers' measures."""
    header = ["label", "method", "placement", "n", "organ precision", "the same with its error", "chance"]
    header += ["IoU", "IoU ceiling", "thresholds from"]
    rows = []
    for one in record.papers:
        figures = (one.organ_precision, one.organ_precision_authors, one.chance, one.iou, one.iou_ceiling)
        shown = ["-" if value is None else f"{value:.3f}" for value in figures]
        rows.append([one.label, one.method, one.placement, str(one.n), *shown, one.tuned_on])
    return header, rows
