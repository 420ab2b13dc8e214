"""From the record of an evaluation to its pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence

from hirescam_cli.evaluate.record import Evaluation, Figure, LabelResult, RegionShare
from hirescam_cli.pictures.canvas import write_png
from hirescam_cli.pictures.colour import RGB
from hirescam_cli.pictures.evaluation import Dot, Ledger, Row, Summary, render_ledger, render_summary

_PANELS = (
    ("hit", "peak cell touches the mask", None, None),
    ("near", "peak near the mask", "blind", None),
    ("evidence_in", "evidence in the mask", "chance", "ceiling"),
    ("score", "score: 0 chance, 1 ceiling", None, None),
)
_MOST_LEDGERS = 12
_LAST = ("outside", "padding", "residual")


def summary_picture(record: Evaluation) -> bytes:
    """PNG of labels by measures: true positives, the placement of most cases."""
    return _png(render_summary(_summary(record)))


def ledger_picture(record: Evaluation) -> bytes:
    """PNG of the mean ledger of each label's true positives: the first method, the placement of most cases."""
    method, placement = first_of(record)
    shown = sorted(ledgers(record), key=lambda one: -one.cases)[:_MOST_LEDGERS]
    note = f"{method}, placement {placement}: mean logits over true positives, lines are 95 % intervals"
    if len(shown) == _MOST_LEDGERS:
        note += f"; the {_MOST_LEDGERS} most frequent labels"
    return _png(render_ledger("Where the logits come from", note, shown))


def first_of(record: Evaluation) -> tuple[str, str]:
    """The method and the placement that come first."""
    return next(iter(record.methods), ""), next(iter(record.placements), "")


def ledgers(record: Evaluation) -> list[Ledger]:
    """The mean ledger of each label, in the order of its parts."""
    method, placement = first_of(record)
    by_label: dict[str, list[RegionShare]] = {}
    for share in record.ledger:
        if (share.method, share.placement) == (method, placement):
            by_label.setdefault(share.label, []).append(share)
    order = {one.label: n for n, one in enumerate(record.counts)}
    found = []
    for label in sorted(by_label, key=lambda name: order[name]):
        shares = sorted(by_label[label], key=lambda one: _rank(one.region, record))
        cases = max(one.logits.n for one in shares)
        parts = tuple((one.region, dot(one.logits)) for one in shares)
        logit = sum(one.logits.mean * one.logits.n for one in shares) / cases
        found.append(Ledger(label, cases, logit, parts))
    return found


def dot(found: Figure) -> Dot:
    """A figure as it is drawn."""
    return Dot(found.mean, found.low, found.high)


def _rank(region: str, record: Evaluation) -> int:
    names = ["bias", "lesion", *record.regions, *_LAST]
    return names.index(region)


def _summary(record: Evaluation) -> Summary:
    _, placement = first_of(record)
    rows = []
    for one in record.counts:
        results = [
            result
            for method in record.methods
            for result in record.results
            if (result.label, result.method, result.placement, result.group)
            == (one.label, method, placement, "true_positives")
        ]
        if results:
            rows.append(_row(results))
    lowest = min((v for row in rows for d in row.dots[-1] if d for v in (d.mean, d.low or 0.0)), default=0.0)
    panels = tuple((title, min(0.0, lowest) if name == "score" else 0.0, 1.0) for name, title, *_ in _PANELS)
    models = ", ".join(model.name for model in record.models)
    cases = record.cases
    scans = f"{cases.finished} scans, {cases.with_masks} with masks, {cases.patients} patients"
    note = f"network {models}; {scans}; placement {placement}"
    titles = tuple(record.methods.values())
    return Summary("Do the maps point at what they explain?", note, panels, titles, tuple(rows))


def _row(results: Sequence[LabelResult]) -> Row:
    """A label, with a result for each method."""
    first = results[0]
    found = [result.measures for result in results]
    dots = tuple(
        tuple(dot(one[measure]) if measure in one else None for one in found) for measure, *_ in _PANELS
    )
    marks = tuple((_mean(found[0], chance), _mean(found[0], ceiling)) for _, _, chance, ceiling in _PANELS)
    return Row(first.label, f"{first.n} true positives", dots, marks)


def _mean(measures: dict[str, Figure], name: str | None) -> float | None:
    return measures[name].mean if name is not None and name in measures else None


def _png(rgb: RGB) -> bytes:
    data = io.BytesIO()
    write_png(rgb, data)
    return data.getvalue()
