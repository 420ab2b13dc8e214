"""What a run came to, for a notebook: cases with their answers, and maps as arrays with their affines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
from numpy.typing import NDArray

from hirescam_cli.api import html
from hirescam_cli.api.frames import Row, data_frame
from hirescam_cli.batch.result import BatchResult
from hirescam_cli.case.listing import read_case
from hirescam_cli.case.record import AnyCase, Case, FailedCase, Label
from hirescam_cli.case.reload import FinishedCase, load_case
from hirescam_cli.case.view import affine_of
from hirescam_cli.errors import ScanError, UsageError
from hirescam_cli.geometry import Affine

if TYPE_CHECKING:
    import pandas

_PICTURES = 2


@dataclass(frozen=True, eq=False)
class Heatmap:
    """A signed map in the method's unit. `array_ijk` [i, j, k]; `affine_ras`: from an index to RAS mm."""

    array_ijk: NDArray[np.float32]
    affine_ras: Affine
    label: str
    method: str
    unit: str
    placement: str

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.array_ijk.shape))
        return f"Heatmap({self.method} of {self.label!r}, {shape}, {self.unit}, {self.placement})"


@dataclass(frozen=True, repr=False)
class Result:
    """A case: where its files lie, and its record (`case`, as in summary.json)."""

    folder: Path
    case: AnyCase

    @property
    def name(self) -> str:
        """The case's name."""
        return self.case.case

    @property
    def ok(self) -> bool:
        """Whether it did not fail; `case.error` says why it did."""
        return isinstance(self.case, Case)

    @property
    def labels(self) -> tuple[Label, ...]:
        """Every label with logit, probability and the evidence of its maps; none if the case failed."""
        return self.case.labels

    @property
    def files(self) -> list[Path]:
        """The files of the folder that the summary tells of."""
        return [self.folder / output.path for output in self.case.outputs]

    def label(self, name: str) -> Label:
        """One label. Raises UsageError for a name that the model does not have."""
        case = self._whole
        try:
            return case.label(name)
        except KeyError:
            known = ", ".join(label.name for label in case.labels)
            raise UsageError(
                f"The case {self.name} has no label {name!r}.", hint=f"It has {known}."
            ) from None

    def map(self, label: str, method: str | None = None, placement: str | None = None) -> Heatmap:
        """The exact map of a label on the network's own cells, along the axes of its input.

        `method`: the case's first unless told; `placement`: the case's own. Raises UsageError for what the case does
        not have, ScanError if its files are not those that were published.
        """
        case, index = self._whole, self.label(label).index
        placement, method = placement or case.placement, self._method(method)
        places = {str(name): rows for name, rows in case.target.affines.items()}
        if placement not in places:
            raise UsageError(f"There is no placement {placement!r}.", hint=f"There are {', '.join(places)}.")
        cams = self._finished.cams[method][..., index]
        unit = case.methods[method].unit
        return Heatmap(cams, affine_of(places[placement]), label, method, unit, placement)

    def overlay(self, label: str, method: str | None = None) -> Heatmap:
        """The map of a label on the scan's own grid, as far as such a file was written (`labels`, `format`, `grid`).

        Raises UsageError if there is none.
        """
        case, method = self._whole, self._method(method)
        self.label(label)
        found = [output for output in case.outputs_of(method, label, "overlay") if output.grid == "scan"]
        if not found:
            raise UsageError(
                f"The case {self.name} has no overlay of {label} by {method}.",
                hint=f"Write one with render({str(self.folder)!r}, scan, labels={label!r}, format='nifti').",
            )
        image = nibabel.load(self.folder / found[0].path)
        array = np.asarray(image.dataobj, dtype=np.float32)
        placement, unit = str(found[0].placement), case.methods[method].unit
        return Heatmap(array, np.asarray(image.affine, dtype=np.float64), label, method, unit, placement)

    def rows(self) -> list[Row]:
        """A row for each label and method, as plain values."""
        return [row for label in self.labels for row in _rows(self.name, label)]

    def to_pandas(self) -> pandas.DataFrame:
        """`rows` as a data frame. Raises UnavailableError without pandas."""
        return data_frame(self.rows())

    @property
    def _whole(self) -> Case:
        if isinstance(self.case, FailedCase):
            error = self.case.error
            raise ScanError(f"The case {self.name} failed: {error.message}", hint=error.hint, code=error.code)
        return self.case

    @cached_property
    def _finished(self) -> FinishedCase:
        return load_case(self.folder)

    def _method(self, method: str | None) -> str:
        known = list(self._whole.methods)
        if method is None:
            return known[0]
        if method not in known:
            raise UsageError(
                f"The case {self.name} was not explained with {method}.", hint=f"It holds {', '.join(known)}."
            )
        return method

    def __repr__(self) -> str:
        return f"Result({self.name!r}, {'ok' if self.ok else 'failed'})"

    def _repr_html_(self) -> str:
        if isinstance(self.case, FailedCase):
            error = self.case.error
            return html.paragraph(f"{self.name} failed ({error.code}): {error.message} {error.hint or ''}")
        rows = [
            (
                label.name,
                label.probability,
                label.logit,
                label.positive,
                method,
                found.residual,
                found.complete,
            )
            for label in self.case.ranked
            for method, found in label.maps.items()
        ]
        columns = ("label", "probability", "logit", "positive", "method", "residual", "complete")
        drawn = [
            output for output in self.case.outputs if output.role == "picture" and output.label is not None
        ]
        pictures = [
            html.picture(
                (self.folder / output.path).read_bytes(), f"{output.method or 'maps'} of {output.label}"
            )
            for output in drawn[:_PICTURES]
            if (self.folder / output.path).is_file()
        ]
        warnings = [html.paragraph(str(warning)) for warning in self.case.warnings]
        return "".join([html.table(self.name, columns, rows), *pictures, *warnings])


@dataclass(frozen=True, repr=False)
class Results(BatchResult):
    """What a run came to, and its cases, in the plan's order: by number, by name, one after the other."""

    output: Path

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Result]:
        return (self[name] for name in self._names)

    def __getitem__(self, key: str | int) -> Result:
        name = self._names[key] if isinstance(key, int) else key
        if name not in self._names:
            raise KeyError(name)
        return result_in(self.output / name, name)

    def rows(self) -> list[Row]:
        """A row for each case, label and method, as plain values."""
        return [row for result in self for row in result.rows()]

    def to_pandas(self) -> pandas.DataFrame:
        """`rows` as a data frame. Raises UnavailableError without pandas."""
        return data_frame(self.rows())

    @property
    def _names(self) -> tuple[str, ...]:
        return (*self.cases, *(case for case, _ in self.failures))

    @property
    def _told(self) -> str:
        return f"{self.done} done, {self.skipped} already there, {self.failed} failed, {self.left} left"

    def __repr__(self) -> str:
        return f"Results({self._told})"

    def _repr_html_(self) -> str:
        rows = [
            (
                result.name,
                "ok" if result.ok else result.case.error.message if result.case.error else "failed",
                ", ".join(label.name for label in result.labels if label.positive),
                str(result.folder),
            )
            for result in self
        ]
        return html.table(self._told, ("case", "ended", "positive", "folder"), rows)


def result_in(folder: Path, name: str) -> Result:
    """The case of a folder, finished or failed. Raises ScanError if there is none."""
    record = read_case(folder, name)
    if record is None:
        raise ScanError(
            f"{folder} is not a case folder.", hint="Give one that explain wrote.", code="case-unusable"
        )
    return Result(folder, record)


def _rows(case: str, label: Label) -> Iterator[Row]:
    answer: Row = {
        "case": case,
        "label": label.name,
        "logit": label.logit,
        "probability": label.probability,
        "threshold": label.threshold,
        "positive": label.positive,
    }
    for method, found in label.maps.items():
        x, y, z = found.peak.world_mm
        evidence: Row = {
            "method": method,
            "sum": found.sum,
            "bias": found.bias,
            "residual": found.residual,
            "complete": found.complete,
            "peak": found.peak.value,
            "peak_x_mm": x,
            "peak_y_mm": y,
            "peak_z_mm": z,
        }
        yield answer | evidence
