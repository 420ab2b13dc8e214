"""From the record of an evaluation to its pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping

from hirescam_cli.evaluate.record import Evaluation, Figure, RegionShare
from hirescam_cli.pictures.canvas import write_png
from hirescam_cli.pictures.colour import RGB
from hirescam_cli.pictures.evaluation import Dot, Ledger, Row, Summary, render_ledger, render_summary

_PANELS = (
    ("hit", "peak cell touches the mask", None, None),
    ("near", "peak near the mask", "blind", None),
    ("evidence_in", "evidence in the mask", "chance", "ceiling"),
    ("score", "score: 0 chance, 1 ceiling", None, None),
)
_LAST = ("outside", "padding", "residual")


def summary_picture(record: Evaluation) -> bytes:
    """PNG of labels by measures: true positives, the placement of most cases."""
    return _png(render_summary(_summary(record)))


def ledger_picture(record: Evaluation) -> bytes:
    """PNG of the mean ledger of each label's true positives: the first method, the placement of most cases."""
    method, placement = first_of(record)
    note = f"{method}, placement {placement}: mean logits over true positives, lines are 95 % intervals"
    return _png(render_ledger("Where the logits come from", note, ledgers(record)))


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
        found.append(Ledger(label, f"{cases} scans,", logit, parts))
    return found


def dot(found: Figure) -> Dot:
    """A figure as it is drawn."""
    return Dot(found.mean, found.low, found.high)


def _rank(region: str, record: Evaluation) -> int:
    names = ["bias", "lesion", *record.regions, *_LAST]
    return names.index(region)


def _summary(record: Evaluation) -> Summary:
    _, placement = first_of(record)
    results = {
        (one.label, one.method): one
        for one in record.results
        if (one.group, one.placement) == ("true_positives", placement)
    }
    labels = list(dict.fromkeys(one.label for one in record.counts if _any(results, one.label)))
    rows = []
    for label in labels:
        mine = [results[label, method].measures for method in record.methods if (label, method) in results]
        dots = tuple(
            tuple(dot(one[measure]) if measure in one else None for one in mine) for measure, *_ in _PANELS
        )
        marks = tuple((_mean(mine[0], chance), _mean(mine[0], ceiling)) for _, _, chance, ceiling in _PANELS)
        n = next(results[label, method].n for method in record.methods if (label, method) in results)
        rows.append(Row(label, f"{n} true positives", dots, marks))
    score = [d.low if d.low is not None else d.mean for row in rows for d in row.dots[3] if d is not None]
    panels = tuple(
        (title, min(0.0, *score, 0.0) if measure == "score" else 0.0, 1.0) for measure, title, *_ in _PANELS
    )
    models = ", ".join(model.name for model in record.models)
    scans = f"{record.cases.with_masks} scans of {record.cases.patients} patients"
    note = f"network {models}; {scans}; placement {placement}"
    return Summary(
        "Do the maps point at what they explain?", note, panels, tuple(record.methods.values()), tuple(rows)
    )


def _any(results: Mapping[tuple[str, str], object], label: str) -> bool:
    return any(name == label for name, _ in results)


def _mean(measures: dict[str, Figure], name: str | None) -> float | None:
    return measures[name].mean if name is not None and name in measures else None


def _png(rgb: RGB) -> bytes:
    data = io.BytesIO()
    write_png(rgb, data)
    return data.getvalue()
