"""From pairs to results: per label and over all labels, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hirescam_cli.evaluate.bootstrap import Columns, Draws, Estimate, estimates, mean_of_columns
from hirescam_cli.evaluate.figures import GROUPS, MEASURES, Frame
from hirescam_cli.evaluate.pairs import Answer, Entry
from hirescam_cli.evaluate.ranking import auroc
from hirescam_cli.evaluate.record import Counts, Figure, Group, LabelResult, Overall, RegionShare


def figure(found: Estimate) -> Figure:
    """An estimate as the record holds it."""
    return Figure(mean=found.mean, low=found.low, high=found.high, n=found.n, patients=found.patients)


def part(columns: Columns, measure: int, labels: int) -> Columns:
    """The columns of one measure, a column a label."""
    chosen = slice(measure * labels, (measure + 1) * labels)
    return Columns(columns.sums[:, chosen], columns.counts[:, chosen])


def label_results(frame: Frame, draws: Draws) -> Iterator[LabelResult]:
    """A result for each label, method, placement and group that has a pair."""
    for group in GROUPS:
        for method in frame.methods:
            for placement in frame.placements:
                yield from _results(frame, draws, method, placement, group)


def _results(frame: Frame, draws: Draws, method: str, placement: str, group: Group) -> Iterator[LabelResult]:
    rows = frame.rows(method, placement, group)
    found = estimates(frame.columns(rows, frame.values[rows]), draws)
    distance = MEASURES.index("distance_mm")
    for n, label in enumerate(frame.labels):
        own = rows[frame.label[rows] == n]
        if not own.size:
            continue
        away = frame.values[own, distance]
        known = away[np.isfinite(away)]
        figures = {name: found[m * len(frame.labels) + n] for m, name in enumerate(MEASURES)}
        yield LabelResult(
            label=label,
            method=method,
            placement=placement,
            group=group,
            n=int(own.size),
            patients=len(np.unique(frame.patient[own])),
            no_evidence=int(own.size - known.size),
            distance_median_mm=float(np.median(known)) if known.size else None,
            measures={name: figure(one) for name, one in figures.items() if one is not None},
        )


def overall(frame: Frame, draws: Draws) -> Iterator[Overall]:
    """The means over labels and over pairs, for each method, placement and group that has a pair."""
    for group in GROUPS:
        for method in frame.methods:
            for placement in frame.placements:
                rows = frame.rows(method, placement, group)
                if not rows.size:
                    continue
                columns = frame.columns(rows, frame.values[rows])
                by_measure = [part(columns, m, len(frame.labels)) for m in range(len(MEASURES))]
                over_labels = [mean_of_columns(one, draws) for one in by_measure]
                over_pairs = [estimates(one.pooled, draws)[0] for one in by_measure]
                labels = len(np.unique(frame.label[rows]))
                yield _overall("labels", over_labels, method, placement, group, labels)
                yield _overall("pairs", over_pairs, method, placement, group, labels)


def _overall(
    over: str, found: Sequence[Estimate | None], method: str, placement: str, group: Group, labels: int
) -> Overall:
    return Overall(
        over="labels" if over == "labels" else "pairs",
        method=method,
        placement=placement,
        group=group,
        labels=labels,
        measures={name: figure(one) for name, one in zip(MEASURES, found, strict=True) if one is not None},
    )


def counts(answers: Sequence[Answer], labels: Sequence[str]) -> Iterator[Counts]:
    """How often each label was right and wrong, and how many of its masks serve."""
    by_label: dict[str, list[Answer]] = {label: [] for label in labels}
    for answer in answers:
        by_label[answer.label].append(answer)
    for label, own in by_label.items():
        if own:
            yield _counts(label, own)


def _counts(label: str, own: Sequence[Answer]) -> Counts:
    outcome = {
        name: sum(answer.outcome == name for answer in own)
        for name in ("true_positive", "false_negative", "false_positive", "true_negative")
    }
    right, missed, wrong, absent = outcome.values()
    present = np.asarray([answer.present for answer in own])
    logits = np.asarray([answer.logit for answer in own])
    false = [answer.logit for answer in own if answer.outcome == "false_positive"]
    return Counts(
        label=label,
        known=len(own),
        true_positives=right,
        false_negatives=missed,
        false_positives=wrong,
        true_negatives=absent,
        unmarked=sum(answer.present and answer.mask in ("none", "empty") for answer in own),
        empty=sum(answer.mask == "empty" for answer in own),
        out_of_view=sum(answer.mask == "out_of_view" for answer in own),
        auroc=auroc(logits, present),
        sensitivity=right / (right + missed) if right + missed else None,
        specificity=absent / (absent + wrong) if absent + wrong else None,
        false_positive_logit=float(np.mean(false)) if false else None,
    )


def region_shares(
    entries: Sequence[Entry], true_positives: set[tuple[str, str]], patients: Sequence[str], draws: Draws
) -> Iterator[RegionShare]:
    """The mean of each part of the ledger over the true positives (case, label)."""
    chosen = [e for e in entries if (e.case, e.label) in true_positives]
    chosen.sort(key=lambda e: (e.case, e.label))
    keys = list(dict.fromkeys((e.label, e.method, e.placement, e.region) for e in chosen))
    order = {key: n for n, key in enumerate(sorted(keys, key=lambda k: k[:3]))}
    place = {name: n for n, name in enumerate(patients)}
    columns = Columns.of(
        np.asarray([e.logits for e in chosen], dtype=np.float64),
        np.asarray([place[e.patient] for e in chosen], dtype=np.intp),
        np.asarray([order[e.label, e.method, e.placement, e.region] for e in chosen], dtype=np.intp),
        (len(patients), len(order)),
    )
    if not order:
        return
    for (label, method, placement, region), one in zip(order, estimates(columns, draws), strict=True):
        if one is not None:
            yield RegionShare(
                label=label, method=method, placement=placement, region=region, logits=figure(one)
            )
