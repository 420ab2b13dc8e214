"""From the agreement of single maps to means, intervals over cases and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from hirescam_cli.evaluate.findings import (
    Agreement,
    Comparison,
    Drift,
    DriftSummary,
    LabelAgreement,
    Overall,
    Span,
    Verdict,
)
from hirescam_cli.placement import PLACEMENTS, Placement

FEWEST_CASES = 5
DRAWS = 2000

STRETCH: Placement = "stretch"
RECEPTIVE_FIELD: Placement = "receptive-field"

_LEVELS = (2.5, 97.5)


def span(values: Mapping[str, Sequence[float]], seed: int) -> Span | None:
    """Mean over cases of each case's mean, with a percentile bootstrap interval over cases; None without any."""
    means = np.array([np.mean(values[case]) for case in sorted(values) if len(values[case])])
    if not means.size:
        return None
    if means.size < FEWEST_CASES:
        return Span(mean=float(means.mean()), low=None, high=None, n=means.size)
    draws = np.random.default_rng([seed, means.size]).integers(0, means.size, (DRAWS, means.size))
    low, high = np.percentile(means[draws].mean(axis=1), _LEVELS)
    return Span(mean=float(means.mean()), low=float(low), high=float(high), n=means.size)


def by_label(found: Sequence[Agreement], seed: int) -> tuple[LabelAgreement, ...]:
    """The means over the cases of each label, method, placement and fill."""
    groups = _grouped(_own(found), lambda a: (a.label, a.method, a.placement, a.fill))
    pearsons = {key: span(_pearsons(part), seed) for key, part in groups.items()}
    result = []
    for (label, method, placement, fill), part in groups.items():
        means = [
            s.mean for key, s in pearsons.items() if s is not None and key[:3] == (label, method, placement)
        ]
        top = span(_by_case(part, lambda a: a.top_cell), seed)
        assert top is not None
        result.append(
            LabelAgreement(
                label=label,
                method=method,
                placement=part[0].placement,
                fill=fill,
                cases=len({a.case for a in part}),
                pearson=pearsons[label, method, placement, fill],
                top_cell=top,
                signs_differ=min(means, default=0.0) < 0 < max(means, default=0.0),
            )
        )
    return tuple(result)


def overall(found: Sequence[Agreement], seed: int) -> tuple[Overall, ...]:
    """The means over cases of each method, placement and fill."""
    result = []
    for (method, _, fill), part in _grouped(_own(found), lambda a: (a.method, a.placement, a.fill)).items():
        top = span(_by_case(part, lambda a: a.top_cell), seed)
        assert top is not None
        pearson = span(_pearsons(part), seed)
        result.append(
            Overall(method=method, placement=part[0].placement, fill=fill, pearson=pearson, top_cell=top)
        )
    return tuple(result)


def comparisons(
    found: Sequence[Agreement], methods: Sequence[str], placement: Placement, fills: Sequence[str], seed: int
) -> tuple[Comparison, ...]:
    """Placements under each method, and the first method against the others under the model's placement."""
    result = []
    for method in methods:
        mine = [a for a in found if a.method == method]
        for tiling in (None, *PLACEMENTS):
            asked = _own(mine) if tiling is None else [a for a in mine if a.tiling == tiling]
            for fill in (None, *fills):
                difference = _paired(asked, lambda a: a.placement, (STRETCH, RECEPTIVE_FIELD), fill, seed)
                if difference is not None:
                    result.append(
                        Comparison(
                            what="placements", method=method, placement=None, fill=fill, tiling=tiling, a=STRETCH,
                            b=RECEPTIVE_FIELD, difference=difference,
                        )
                    )  # fmt: skip
    placed = [a for a in _own(found) if a.placement == placement]
    for other in methods[1:]:
        for fill in (None, *fills):
            difference = _paired(placed, lambda a: a.method, (methods[0], other), fill, seed)
            if difference is not None:
                result.append(
                    Comparison(
                        what="methods", method=None, placement=placement, fill=fill, tiling=None, a=methods[0],
                        b=other, difference=difference,
                    )
                )  # fmt: skip
    return tuple(result)


def verdict(compared: Sequence[Comparison], method: str) -> Verdict:
    """The placement that explains the drops of one method better, if that is beyond doubt.

    Stated only where the interval of the difference over all fills excludes 0 and neither a fill nor either placement's
    windows, in which both are asked, have the other sign: smaller windows alone would lower a correlation.
    """
    mine = [c for c in compared if c.what == "placements" and c.method == method]
    whole = next((c.difference for c in mine if c.fill is None and c.tiling is None), None)
    if whole is None:
        return Verdict(placement=None, method=method, difference=None, reason="no map could be compared")
    text = f"difference of correlations {_told(whole)} over {whole.n} cases"
    if whole.low is None:
        reason = f"fewer than {FEWEST_CASES} cases give no interval; {text}"
        return Verdict(placement=None, method=method, difference=whole, reason=reason)
    if not whole.excludes_zero:
        reason = f"the interval holds 0; {text}"
        return Verdict(placement=None, method=method, difference=whole, reason=reason)
    against = [c for c in mine if (c.fill is None or c.tiling is None) and c.difference.mean * whole.mean < 0]
    if against:
        first = against[0]
        who = f"the fill {first.fill}" if first.tiling is None else f"in windows of {first.tiling} occlusion"
        reason = f"{who} says the opposite; {text}"
        return Verdict(placement=None, method=method, difference=whole, reason=reason)
    better = STRETCH if whole.mean > 0 else RECEPTIVE_FIELD
    return Verdict(placement=better, method=method, difference=whole, reason=text)


def drift_summaries(found: Sequence[Drift]) -> tuple[DriftSummary, ...]:
    """Over all cases and labels of each method and shift."""
    groups: dict[tuple[str, tuple[int, int, int]], list[Drift]] = {}
    for drift in found:
        groups.setdefault((drift.method, drift.shift), []).append(drift)
    return tuple(
        DriftSummary(
            method=method,
            shift=shift,
            n=len(part),
            logit_median=float(np.median([abs(d.logit) for d in part])),
            logit_largest=max(abs(d.logit) for d in part),
            peak_median_mm={name: float(np.median([d.peak_mm[name] for d in part])) for name in PLACEMENTS},
        )
        for (method, shift), part in groups.items()
    )


def _own(found: Iterable[Agreement]) -> list[Agreement]:
    """The maps that were asked in windows of their own cells."""
    return [a for a in found if a.tiling == a.placement]


def _told(span: Span) -> str:
    interval = "" if span.low is None or span.high is None else f" [{span.low:+.2f}, {span.high:+.2f}]"
    return f"{span.mean:+.2f}{interval}"


def _paired(
    found: Sequence[Agreement],
    side: Callable[[Agreement], str],
    sides: tuple[str, str],
    fill: str | None,
    seed: int,
) -> Span | None:
    """Mean over cases of a - b, over the labels and fills that both sides have."""
    pairs: dict[tuple[str, str, str], dict[str, float]] = {}
    for a in found:
        if a.pearson is not None and side(a) in sides and fill in (None, a.fill):
            pairs.setdefault((a.case, a.label, a.fill), {})[side(a)] = a.pearson
    values: dict[str, list[float]] = {}
    for (case, _, _), pair in pairs.items():
        if len(pair) == 2:
            values.setdefault(case, []).append(pair[sides[0]] - pair[sides[1]])
    return span(values, seed)


def _pearsons(found: Iterable[Agreement]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for a in found:
        if a.pearson is not None:
            values.setdefault(a.case, []).append(a.pearson)
    return values


def _by_case(found: Iterable[Agreement], value: Callable[[Agreement], float]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for a in found:
        values.setdefault(a.case, []).append(value(a))
    return values


def _grouped(
    found: Iterable[Agreement], key: Callable[[Agreement], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Agreement]]:
    groups: dict[tuple[str, ...], list[Agreement]] = {}
    for a in found:
        groups.setdefault(key(a), []).append(a)
    return groups
