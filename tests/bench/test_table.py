"""The arithmetic of the table: goals, ratios, medians, and what is shown for what was not measured."""

from __future__ import annotations

import json

import pytest

from hirescam_cli.bench.table import Row, at_least, at_most, cells, document, figure, goal_text, markdown
from hirescam_cli.bench.timing import interleaved, ratio


@pytest.mark.parametrize(
    ("goal", "measured", "met"),
    [
        (at_most(1.25), 1.25, True),
        (at_most(1.25), 1.2501, False),
        (at_least(20.0), 20.0, True),
        (at_least(20.0), 19.99, False),
        (None, 3.0, None),
        (at_most(1.0), None, None),
    ],
)
def test_a_goal_is_met_or_not_or_unknown(goal: object, measured: float | None, met: bool | None) -> None:
    row = Row("key", "what", "x", measured, goal)  # type: ignore[arg-type]
    assert row.met is met


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "x", "not measured"),
        (1.0149, "x", "1.01 x"),
        (0.0004, "", "0.0004"),
        (612.4, "x faster", "612 x faster"),
    ],
)
def test_figures_show_three_digits(value: float | None, unit: str, shown: str) -> None:
    assert figure(value, unit) == shown


def test_goals_show_their_direction() -> None:
    assert goal_text(Row("a", "a", "x", 1.0, at_most(1.25))) == "<= 1.25 x"
    assert goal_text(Row("a", "a", "", 1.0, at_least(0.85))) == ">= 0.85"
    assert goal_text(Row("a", "a", "", 1.0)) == ""


def test_a_ratio_is_the_median_over_rounds_not_the_ratio_of_medians() -> None:
    # One slow spell of the machine met both candidates: round by round the ratio is 2.
    assert ratio([2.0, 20.0, 4.0], [1.0, 10.0, 2.0]) == 2.0
    # 3/1, 1/1, 2/4: the middle one is 1, while the medians, 2 and 1, would say 2.
    assert ratio([3.0, 1.0, 2.0], [1.0, 1.0, 4.0]) == 1.0
    with pytest.raises(ValueError):
        ratio([1.0], [1.0, 2.0])


def test_candidates_take_turns() -> None:
    calls: list[str] = []
    times = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 3
    assert {name: len(series) for name, series in times.items()} == {"a": 3, "b": 3}
    assert min(min(series) for series in times.values()) >= 0.0


def test_json_holds_null_for_what_was_not_measured() -> None:
    rows = [Row("a", "A", "x", 1.5, at_most(2.0), "d"), Row("b", "B", "ms", None, at_most(15.0), "no GPU")]
    text = json.dumps(document({"cpu": "some"}, rows), allow_nan=False)
    first, second = json.loads(text)["rows"]
    assert first == {
        "key": "a", "what": "A", "unit": "x", "measured": 1.5, "detail": "d", "met": True,
        "goal": {"kind": "at most", "value": 2.0},
    }  # fmt: skip
    assert (second["measured"], second["met"], second["detail"]) == (None, None, "no GPU")


def test_markdown_has_one_line_a_row_and_as_many_cells_as_headings() -> None:
    rows = [Row("a", "A | B", "x", 1.5, at_most(2.0), "d"), Row("b", "B", "x", 3.0, at_most(2.0))]
    about, blank, *table = markdown({"cpu": "some", "cores": 2}, rows).splitlines()
    assert (about, blank) == ("cpu some, cores 2", "")
    assert [line.replace("\\|", "").count("|") for line in table] == [6] * 4
    assert cells(rows[0])[3] == "yes"
    assert cells(rows[1])[3] == "no"
