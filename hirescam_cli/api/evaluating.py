"""`evaluate` from Python: finished cases measured against masks, as a table of figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hirescam_cli.api import html
from hirescam_cli.api.frames import Row, data_frame
from hirescam_cli.api.models import PathName
from hirescam_cli.api.options import by_name, path_given
from hirescam_cli.api.results import Results
from hirescam_cli.evaluate.options import EvaluateOptions, Placements
from hirescam_cli.evaluate.record import Evaluation
from hirescam_cli.evaluate.run import evaluate as run_evaluation
from hirescam_cli.option_values import made

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Evaluated:
    """An evaluation: `record` as in evaluation.json, `folder` of its tables and pictures; `already`: it was there."""

    record: Evaluation
    folder: Path
    already: bool

    def rows(self) -> list[Row]:
        """A row for each label, method, placement and group: each measure's mean, and the ends of its interval."""
        rows: list[Row] = []
        for found in self.record.results:
            row: Row = {
                "label": found.label,
                "method": found.method,
                "placement": found.placement,
                "group": found.group,
                "n": found.n,
                "patients": found.patients,
                "distance_median_mm": found.distance_median_mm,
            }
            for name, figure in found.measures.items():
                row |= {name: figure.mean, f"{name}_low": figure.low, f"{name}_high": figure.high}
            rows.append(row)
        return rows

    def to_pandas(self) -> pandas.DataFrame:
        """`rows` as a data frame. Raises UnavailableError without pandas."""
        return data_frame(self.rows())

    def __repr__(self) -> str:
        return f"Evaluated({self.record.cases.with_masks} cases with masks, {str(self.folder)!r})"

    def _repr_html_(self) -> str:
        rows = self.rows()
        columns = list(dict.fromkeys(column for row in rows for column in row))
        return html.table(
            str(self.folder), columns, ([row.get(column) for column in columns] for row in rows)
        )


def evaluate(
    cases: PathName | Results,
    masks: PathName,
    output: PathName | None = None,
    *,
    placement: Placements = "model",
    **named: object,
) -> Evaluated:
    """Measure whether maps point at what they explain, without the network.

    `cases`: the output folder of `explain`, or what it returned; `masks`: the folder of the masks; `output`: of the
    results, `evaluation` in that of the cases unless told; `named`: other options of `hirescam evaluate` with
    underscores (`labels`, `method`, `truth`, `regions`, ...). Raises NoInputError, UsageError, OutputCreateError.
    """
    values = by_name("evaluate", named, EvaluateOptions)
    options = made(
        EvaluateOptions, {**values, "masks": path_given("evaluate", "masks", masks)}, placement=placement
    )
    folder = cases.output if isinstance(cases, Results) else path_given("evaluate", "the cases", cases)
    result = run_evaluation(
        folder, options, None if output is None else path_given("evaluate", "the output", output)
    )
    return Evaluated(result.record, result.folder, result.already)
