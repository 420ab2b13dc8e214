"""Intervals and tests: known answers, invariances, and the coverage of a planted detector."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hirescam_cli.evaluate.bootstrap import (
    Columns,
    Draws,
    drawn_means,
    estimates,
    holm,
    limits,
    mean_of_columns,
    sign_flip_p,
    sign_flip_p_of_mean,
)


def columns(values: np.ndarray, patients: np.ndarray, labels: np.ndarray | None = None) -> Columns:
    labels = np.zeros(len(values), dtype=int) if labels is None else labels
    return Columns.of(
        np.asarray(values, dtype=float), patients, labels, (patients.max() + 1, labels.max() + 1)
    )


def test_the_matrix_product_is_the_mean_of_the_drawn_cases() -> None:
    rng = np.random.default_rng(1)
    patients, values = rng.integers(0, 12, 40), rng.normal(size=40)
    values[3] = np.nan
    draws = Draws.of(12, 50, 4)
    found = drawn_means(columns(values, patients), draws)[:, 0]
    for n in range(50):
        chosen = np.concatenate(
            [values[patients == p] for p in range(12) for _ in range(int(draws.weights[n, p]))]
        )
        assert found[n] == pytest.approx(np.nanmean(chosen))
    low, high = limits(found[:, None])
    assert [low[0], high[0]] == pytest.approx(np.percentile(found, [2.5, 97.5]).tolist())


def test_draws_without_a_column_are_left_out() -> None:
    drawn = np.array([[1.0], [np.nan], [3.0], [2.0]])
    low, high = limits(drawn)
    assert [low[0], high[0]] == pytest.approx(np.nanpercentile(drawn, [2.5, 97.5]).tolist())


def test_cases_given_twice_change_no_interval() -> None:
    rng = np.random.default_rng(2)
    patients, values = np.arange(20), rng.normal(size=20)
    draws = Draws.of(20, 500, 0)
    once = estimates(columns(values, patients), draws)[0]
    twice = estimates(columns(np.tile(values, 2), np.tile(patients, 2)), draws)[0]
    assert once is not None
    assert twice is not None
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert (once.n, twice.n, twice.patients) == (20, 40, 20)
    # Had the copies been taken for patients of their own, the interval would have shrunk.
    apart = estimates(columns(np.tile(values, 2), np.arange(40)), Draws.of(40, 500, 0))[0]
    assert apart is not None
    assert apart.high - apart.low < 0.85 * (once.high - once.low)


def test_fewer_than_five_patients_have_no_interval_and_no_p() -> None:
    few = columns(np.arange(8.0), np.arange(8) % 4)
    draws = Draws.of(4, 200, 0)
    found = estimates(few, draws)[0]
    assert found is not None
    assert (found.mean, found.low, found.high, found.patients) == (3.5, None, None, 4)
    assert sign_flip_p(few, draws) == [None]
    assert sign_flip_p_of_mean(few, draws) is None
    assert estimates(columns(np.array([np.nan]), np.array([0])), Draws.of(1, 100, 0)) == [None]


def test_the_mean_over_labels_counts_labels_alike() -> None:
    labels = np.array([0] * 9 + [1] * 1 + [2] * 5)
    values = np.array([0.0] * 9 + [1.0] + [0.5] * 5)
    patients = np.arange(15)
    all_columns = columns(values, patients, labels)
    draws = Draws.of(15, 300, 0)
    over_labels = mean_of_columns(all_columns, draws)
    over_pairs = estimates(all_columns.pooled, draws)[0]
    assert over_labels is not None
    assert over_pairs is not None
    assert over_labels.mean == pytest.approx(0.5)
    assert over_pairs.mean == pytest.approx(3.5 / 15)


def test_a_planted_detector_is_covered() -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for trial in range(200):
        patients = np.repeat(np.arange(60), 2)
        hits = np.repeat(rng.random(60) < 0.7, 2)  # both scans of a patient alike: not independent
        found = estimates(columns(hits, patients), Draws.of(60, 1000, trial))[0]
        assert found is not None
        covered += found.low <= 0.7 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_sign_flips_are_those_of_the_full_enumeration() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0.4, 1.0, size=10)
    patients = np.array([0, 0, 1, 2, 3, 4, 4, 5, 6, 7])
    by_patient = columns(values, patients)
    sums = by_patient.sums[:, 0]
    observed = abs(sums.sum())
    flips = [abs(np.dot(signs, sums)) for signs in product((1, -1), repeat=8)]
    exact = np.mean([flip >= observed - 1e-12 for flip in flips])
    (found,) = sign_flip_p(by_patient, Draws.of(8, 20_000, 0))
    assert found == pytest.approx(exact, abs=0.02)
    assert sign_flip_p_of_mean(by_patient, Draws.of(8, 20_000, 0)) == found


def test_p_is_uniform_where_nothing_differs_and_small_where_much_does() -> None:
    rng = np.random.default_rng(6)
    draws = Draws.of(40, 400, 0)
    nothing = columns(rng.normal(size=40 * 200), np.tile(np.arange(40), 200), np.repeat(np.arange(200), 40))
    p = np.asarray(sign_flip_p(nothing, draws), dtype=float)
    assert abs((p < 0.1).mean() - 0.1) < 0.06
    assert abs(p.mean() - 0.5) < 0.08
    (much,) = sign_flip_p(columns(rng.normal(2.0, 1.0, size=40), np.arange(40)), draws)
    assert much == pytest.approx(1 / 401)


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [
        pytest.approx(0.03),
        None,
        pytest.approx(0.06),
        pytest.approx(0.06),
    ]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
