"""Rows of the performance table: a goal, a figure, and whether the one is reached by the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

SCHEMA_VERSION = "1.0"


@dataclass(frozen=True)
class Goal:
    """What a figure must be: at most or at least `value`."""

    kind: Literal["at most", "at least"]
    value: float

    def met(self, measured: float) -> bool:
        """Whether a figure reaches the goal."""
        return measured <= self.value if self.kind == "at most" else measured >= self.value


@dataclass(frozen=True)
class Row:
    """One line of the table. `measured` is None where nothing could be measured; `detail` then says why, and
    otherwise what stands behind the figure. A row without a goal is there for comparison."""

    key: str
    what: str
    unit: str
    measured: float | None
    goal: Goal | None = None
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal or a figure."""
        return None if self.goal is None or self.measured is None else self.goal.met(self.measured)


def at_most(value: float) -> Goal:
    """A goal from above."""
    return Goal("at most", value)


def at_least(value: float) -> Goal:
    """A goal from below."""
    return Goal("at least", value)


def figure(value: float | None, unit: str) -> str:
    """A figure with its unit, to three significant digits."""
    if value is None:
        return "not measured"
    digits = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}".strip()


def goal_text(row: Row) -> str:
    """The goal as shown: "<= 1.25", ">= 20", or nothing."""
    if row.goal is None:
        return ""
    sign = "<=" if row.goal.kind == "at most" else ">="
    return f"{sign} {row.goal.value:g} {row.unit}".strip()


def document(machine: Mapping[str, object], rows: Sequence[Row]) -> dict[str, object]:
    """The table as JSON: a figure that was not measured is null."""
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": dict(machine),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """What is shown of a row: what, goal, measured, verdict, detail."""
    verdict = {True: "yes", False: "no", None: ""}[row.met]
    return row.what, goal_text(row), figure(row.measured, row.unit), verdict, row.detail


HEADINGS = ("What", "Goal", "Measured", "Met", "Notes")


def markdown(machine: Mapping[str, object], rows: Sequence[Row]) -> str:
    """The table in Markdown, with the machine above it."""
    about = ", ".join(f"{key} {value}" for key, value in machine.items())
    lines = [about, "", "| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"
