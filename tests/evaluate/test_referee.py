"""The referee gives the right answer where it is known: networks whose logit is a sum over cells."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hirescam_cli.errors import UsageError
from hirescam_cli.evaluate.findings import RefereeFindings, to_json
from hirescam_cli.evaluate.occlusion import evidence, occlude_group, replace_group
from hirescam_cli.evaluate.referee import RefereeOptions, correlation, referee
from hirescam_cli.placement import Placement
from tests.evaluate.subjects import CELLS, linear, scans

AIR = RefereeOptions(groups=3, fills=("air",), shifts=())
BOTH = ("honest", "noise")


def judged(true: Placement, count: int = 8, options: RefereeOptions = AIR, **more: object) -> RefereeFindings:
    return referee(linear(true, **more), scans(count), BOTH, options)


@pytest.mark.parametrize("placement", ["stretch", "receptive-field"])
def test_the_drop_is_the_cell_where_the_placement_is_true_and_the_fill_is_nothing(
    placement: Placement,
) -> None:
    subject, (scan,) = linear(placement), scans(1)
    answer = subject.explain(scan.voxels, ["honest"])
    found = occlude_group(subject, scan, answer, 2, placement, "air")
    assert len(found.windows) == CELLS * CELLS
    for label in range(2):
        told = evidence(answer.cams["honest"][label], found.windows)
        np.testing.assert_allclose(found.drops[:, label], told, rtol=0, atol=1e-6)
        assert np.ptp(told) > 0.05


@pytest.mark.parametrize("placement", ["stretch", "receptive-field"])
def test_the_true_placement_wins(placement: Placement) -> None:
    findings = judged(placement)
    assert findings.verdict.placement == placement
    assert findings.verdict.difference is not None
    assert findings.verdict.difference.n == 8
    for agreement in findings.agreements:
        if (agreement.method, agreement.placement, agreement.tiling) == ("honest", placement, placement):
            assert agreement.pearson == pytest.approx(1.0, abs=1e-5)
            assert agreement.top_cell == 1.0
            assert (agreement.groups, agreement.windows) == (3, 48)
    wrong = [o for o in findings.overall if o.method == "honest" and o.placement != placement]
    assert wrong[0].pearson is not None
    assert wrong[0].pearson.mean < 0.8


@pytest.mark.parametrize("placement", ["stretch", "receptive-field"])
def test_the_true_placement_wins_in_the_others_windows_too(placement: Placement) -> None:
    found = [c for c in judged(placement).comparisons if c.method == "honest" and c.fill is None]
    assert [c.tiling for c in found] == [None, "stretch", "receptive-field"]
    sign = 1 if placement == "stretch" else -1
    assert all(c.difference.low is not None and sign * c.difference.mean > 0.05 for c in found)
    assert all(c.difference.excludes_zero for c in found)


def test_maps_that_mean_nothing_give_no_verdict_and_lose_to_those_that_do() -> None:
    subject, every = linear(), scans(8)
    noise = referee(subject, every, ("noise",), AIR)
    assert noise.verdict.placement is None
    assert "the interval holds 0" in noise.verdict.reason
    (methods,) = [c for c in judged("stretch").comparisons if c.what == "methods" and c.fill is None]
    assert (methods.a, methods.b, methods.placement) == ("honest", "noise", "stretch")
    assert methods.difference.low is not None
    assert methods.difference.low > 0.5


def test_too_few_cases_give_no_interval_and_no_verdict() -> None:
    findings = judged("stretch", count=4)
    assert findings.verdict.placement is None
    assert "fewer than 5 cases" in findings.verdict.reason
    assert all(o.pearson is not None and o.pearson.low is None for o in findings.overall)


def test_what_lies_between_groups_does_not_count() -> None:
    """Groups of different brightness would agree whatever the map says within them."""
    subject, (scan,) = linear(), scans(1)
    voxels = scan.voxels * np.repeat([1, 1, 50, 1, 100, 1], 3)[:, None, None]
    bright = type(scan)(scan.case, voxels.astype(np.float32), scan.affine_ras, scan.edges)
    noise = referee(subject, [bright], ("noise",), AIR).agreements
    assert all(abs(a.pearson or 0.0) < 0.6 for a in noise)


def test_windows_of_padding_are_left_out_and_only_scan_is_replaced() -> None:
    subject, (scan,) = linear(), scans(1, padding=15)
    answer = subject.explain(scan.voxels, ["honest"])
    found = occlude_group(subject, scan, answer, 0, "stretch", "air")
    # The first of four columns of windows is padding, half of the second is.
    assert len(found.windows) == CELLS * (CELLS - 1)
    assert {window.voxels[2].start for window in found.windows} == {15, 20, 30}
    told = evidence(answer.cams["honest"][1], found.windows)
    np.testing.assert_allclose(found.drops[:, 1], told, atol=1e-6)


def test_a_network_that_takes_the_volume_as_a_whole() -> None:
    findings = judged("stretch", by_slices=False, slab=1)
    honest = [
        a for a in findings.agreements if (a.method, a.placement, a.tiling) == ("honest",) + ("stretch",) * 2
    ]
    # 6 groups of cells in 4 blocks, each of 4 x 4 windows.
    assert {(a.groups, a.windows) for a in honest} == {(1, 64)}
    assert all(a.pearson == pytest.approx(1.0, abs=1e-5) for a in honest)
    assert findings.verdict.placement == "stretch"
    assert findings.exactness is None


def test_replacing_a_group_changes_the_logit_as_its_scores_say() -> None:
    subject, (scan,) = linear(), scans(1)
    answer = subject.explain(scan.voxels, ["honest"])
    expected, found = replace_group(subject, scan, answer, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    mean = scan.voxels[3:6].mean()
    by_hand = (subject.weights.sum(axis=(1, 2)) * mean - answer.slice_scores[:, 1]) / 6
    np.testing.assert_allclose(expected, by_hand, atol=1e-5)
    assert judged("stretch", count=1).exactness == pytest.approx(0.0, abs=1e-5)


def test_the_labels_that_are_asked_for() -> None:
    wanted = {"case 0": ["label 1"], "case 1": [], "case 2": ["label 0", "label 1", "other"]}
    seen: list[str] = []
    findings = referee(linear(), scans(4), ("honest",), AIR, wanted=wanted, done=seen.append)
    assert {(a.case, a.label) for a in findings.agreements} == {
        ("case 0", "label 1"),
        ("case 2", "label 0"),
        ("case 2", "label 1"),
    }
    assert findings.cases == 2
    assert seen == [f"case {n}" for n in range(4)]


def test_the_document_has_no_nan_and_gives_the_same_numbers_again() -> None:
    flat = linear()
    constant = type(flat)(np.zeros_like(flat.weights))
    findings = referee(
        constant, scans(2), BOTH, RefereeOptions(groups=1, fills=("mean",), shifts=((1, 0, 0),))
    )
    text = to_json(findings).decode()
    assert "NaN" not in text
    assert all(a["pearson"] is None for a in json.loads(text)["agreements"] if a["method"] == "honest")
    assert findings.verdict.placement is None
    assert to_json(judged("stretch")) == to_json(judged("stretch"))


def test_options_that_cannot_be_used() -> None:
    with pytest.raises(UsageError, match="--groups is 0"):
        RefereeOptions(groups=0)
    with pytest.raises(UsageError, match="'noise' is unknown"):
        RefereeOptions(fills=("blur", "noise"))
    with pytest.raises(UsageError, match="names nothing"):
        RefereeOptions(fills=())


def test_correlation_by_hand() -> None:
    a, b = np.array([-1.0, 0.0, 1.0]), np.array([-1.0, 2.0, -1.0])
    assert correlation(a, b) == pytest.approx(0.0)
    assert correlation(a, a * 3) == pytest.approx(1.0)
    assert correlation(a, -a) == pytest.approx(-1.0)
    assert correlation(a, np.zeros(3)) is None
