"""AUROC, average precision, thresholds and calibration: by hand, by counting pairs, and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from hirescam_cli.train.calibration import platt
from hirescam_cli.train.metrics import auroc, average_precision
from hirescam_cli.train.thresholds import threshold


def test_auroc_counts_pairs_ties_half() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 8, 60).astype(float), (rng.random(60) < 0.4).astype(float)
    truth[:5] = np.nan
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[truth == 1] for n in scores[truth == 0]]
    found = auroc(scores, truth)
    assert found is not None
    assert found.value == pytest.approx(np.mean(pairs), abs=1e-12)
    assert found.positives + found.negatives == 55


def test_delongs_interval_by_its_definition() -> None:
    positive, negative = np.array([3.0, 1.0, 4.0, 2.5]), np.array([0.0, 2.0, 1.0])
    order = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    spread = np.sqrt(order.mean(1).var(ddof=1) / 4 + order.mean(0).var(ddof=1) / 3)
    value = order.mean()
    logit = np.log(value / (1 - value))
    width = stats.norm.ppf(0.975) * spread / (value * (1 - value))
    found = auroc(np.concatenate([positive, negative]), np.array([1.0] * 4 + [0.0] * 3))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(
        (1 / (1 + np.exp(width - logit)), 1 / (1 + np.exp(-width - logit)))
    )


def test_the_interval_covers_the_true_value() -> None:
    rng, hits = np.random.default_rng(1), 0
    true = stats.norm.cdf(1.0 / np.sqrt(2))
    truth = np.repeat([1.0, 0.0], [25, 40])
    for _ in range(400):
        found = auroc(rng.normal(truth, 1.0), truth)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= true <= found.high
    assert 0.92 < hits / 400 < 0.985


def test_auroc_at_its_ends() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([1.0, 1.0])) is None
    perfect = auroc(np.arange(6.0), np.array([0.0, 0, 0, 1, 1, 1]))
    assert perfect is not None
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.05 ** (1 / 3))
    equal = auroc(np.ones(6), np.array([0.0, 0, 0, 1, 1, 1]))
    assert equal is not None
    assert (equal.value, equal.low, equal.high) == (0.5, None, None)
    single = auroc(np.array([1.0, 0.0, 2.0]), np.array([1.0, 0.0, 0.0]))
    assert single is not None
    assert (single.value, single.low) == (0.5, None)


def test_average_precision_by_hand() -> None:
    truth = np.array([1.0, 0.0, 1.0, 0.0, np.nan])
    assert average_precision(np.array([4.0, 3.0, 2.0, 1.0, 9.0]), truth) == pytest.approx((1 + 2 / 3) / 2)
    # Equal scores in one step: 2 of 4 are right at full recall.
    assert average_precision(np.ones(5), truth) == pytest.approx(0.5)
    assert average_precision(np.ones(2), np.zeros(2)) is None


def test_youden_by_hand() -> None:
    positive = [0.9, 0.8, 0.7, 0.6] * 3
    negative = [0.1, 0.2, 0.65, 0.3] * 3
    p, t = np.array(positive + negative), np.array([1.0] * 12 + [0.0] * 12)
    # Between 0.3 and 0.6 all positives and 3 of 4 negatives are right; above 0.65 3 of 4 positives, all negatives: the
    # same sum, so the lower one.
    assert threshold("youden", p, t).value == pytest.approx(0.45)
    assert threshold("sensitivity:0.75", p, t).value == pytest.approx(0.675)
    assert threshold("sensitivity:1", p, t).value == pytest.approx(0.45)
    assert threshold("0.5", p, t).value == 0.5


@pytest.mark.parametrize("method", ["youden", "sensitivity:0.9"])
def test_thresholds_are_the_best_of_all(method: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        t = (rng.random(60) < 0.4).astype(float)
        p = np.round(1 / (1 + np.exp(-rng.normal(t, 1.0))), 2)
        found = threshold(method, p, t).value

        def rates(limit: float, p: np.ndarray = p, t: np.ndarray = t) -> tuple[float, float]:
            return float((p[t == 1] >= limit).mean()), float((p[t == 0] < limit).mean())

        every = [rates(limit) for limit in np.linspace(0, 1, 2001)]
        here = rates(found)
        if method == "youden":
            assert sum(here) == pytest.approx(max(sum(rate) for rate in every))
        else:
            assert here[0] >= 0.9
            assert here[1] == max(spared for hit, spared in every if hit >= 0.9)


def test_few_of_either_keep_a_half_and_the_scale() -> None:
    p = np.linspace(0.01, 0.99, 40)
    for few in (9, 31):
        t = (np.arange(40) >= 40 - few).astype(float)
        assert threshold("youden", p, t) == threshold("sensitivity:0.5", p, t)
        assert threshold("youden", p, t).method == "too-few"
        assert not platt(p, t).fitted
        assert (platt(p, t).scale, platt(p, t).offset) == (1.0, 0.0)


@pytest.mark.parametrize("size", [1.0, 1e-3, 50.0])
def test_platt_is_what_scipy_finds(size: float) -> None:
    rng = np.random.default_rng(4)
    t = (rng.random(80) < 0.3).astype(float)
    z = (rng.normal(t * 1.5, 1.0) - 4.0) * size
    p, n = t.sum(), (1 - t).sum()
    target = np.where(t == 1, (p + 1) / (p + 2), 1 / (n + 2))

    def loss(w: np.ndarray) -> float:
        y = w[0] * z / size + w[1]
        return float((np.logaddexp(0, y) - target * y).sum())

    wanted = optimize.minimize(loss, [1.0, 0.0], tol=1e-12).x
    found = platt(z, np.append(t, []))
    assert found.fitted
    assert (found.scale * size, found.offset) == pytest.approx(tuple(wanted), rel=1e-4)
    # At the best offset probabilities and targets have the same mean.
    moved = 1 / (1 + np.exp(-(found.scale * z + found.offset)))
    assert moved.mean() == pytest.approx(target.mean(), abs=1e-9)
    assert auroc(moved, t) == auroc(z, t)


def test_platt_leaves_alone_what_is_the_wrong_way_round_and_ends_where_all_is_separate() -> None:
    t = np.repeat([0.0, 1.0], 20)
    z = np.linspace(-1, 1, 40)
    assert not platt(-z, t).fitted
    apart = platt(z, t)
    assert apart.fitted
    assert np.isfinite([apart.scale, apart.offset]).all()
    assert 1 < apart.scale < 1000
    assert not platt(np.zeros(40), t).fitted
