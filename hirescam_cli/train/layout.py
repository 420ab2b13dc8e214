"""How a table of scans is laid out: which column says what, and how ids become paths and patients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from hirescam_cli.errors import UsageError
from hirescam_cli.options import check, stated
from hirescam_cli.train.path_template import PathTemplate

_SHOWN = 12


@dataclass(frozen=True)
class Layout:
    """See the options of the same names. `label_columns`: "LABEL=COLUMN" each. Raises UsageError for what cannot be."""

    id_column: str = stated("id-column")
    path_column: str = stated("path-column")
    path_template: str | None = stated("path-template")
    id_pattern: str | None = stated("id-pattern")
    scans: Path | None = stated("scans")
    split_column: str = stated("split-column")
    patient_column: str = stated("patient-column")
    patients: Path | None = stated("patients")
    label_columns: tuple[str, ...] | None = stated("label-columns")
    or_locations: str | None = stated("or-locations")

    def __post_init__(self) -> None:
        check(self)
        self.template  # noqa: B018
        self.own_columns  # noqa: B018

    @cached_property
    def template(self) -> PathTemplate | None:
        """How ids become paths. Raises UsageError where it is none."""
        known = {"id", "split", *self._groups}
        return None if self.path_template is None else PathTemplate.parse(self.path_template, known)

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """The pattern of ids. Raises UsageError where it is none."""
        try:
            return None if self.id_pattern is None else re.compile(self.id_pattern)
        except re.error as error:
            raise UsageError(
                f"--id-pattern {self.id_pattern!r} is not a regular expression: {error}.", hint="Correct it."
            ) from error

    @property
    def _groups(self) -> tuple[str, ...]:
        return () if self.pattern is None else tuple(self.pattern.groupindex)

    @property
    def names_patients(self) -> bool:
        """Whether ids say whose scan it is."""
        return "patient" in self._groups

    def parts(self, scan: str) -> Mapping[str, str] | None:
        """What the pattern finds in an id; None for one that does not match."""
        if self.pattern is None:
            return {}
        found = self.pattern.fullmatch(scan)
        return None if found is None else {name: part or "" for name, part in found.groupdict().items()}

    @cached_property
    def own_columns(self) -> dict[str, str]:
        """The columns of labels that are called otherwise. Raises UsageError."""
        found: dict[str, str] = {}
        for text in self.label_columns or ():
            label, separator, column = text.partition("=")
            if not separator or not label.strip() or not column.strip():
                raise UsageError(f"--label-columns {text!r} is not LABEL=COLUMN.", hint="Name both.")
            if found.setdefault(label.strip(), column.strip()) != column.strip():
                raise UsageError(f"--label-columns gives {label.strip()!r} two columns.", hint="Name one.")
        return found

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raises UsageError where `label_columns` names a label that the model does not have."""
        for label in self.own_columns:
            if label not in labels:
                raise UsageError(
                    f"--label-columns names the label {label!r}, which the model does not have.",
                    hint=_instead(label, labels),
                    code="table-column",
                )

    def columns_of(self, label: str, header: Sequence[str]) -> tuple[int, ...]:
        """Places of a label's columns in the header.

        With `or_locations` those whose name up to its first occurrence is the label: "nodule*left lung" is one of
        "nodule" and not of "nod". Empty where there is none.
        """
        name = self.own_columns.get(label, label)
        if self.or_locations is None:
            return tuple(place for place, column in enumerate(header) if column == name)
        return tuple(
            place for place, column in enumerate(header) if column.partition(self.or_locations)[0] == name
        )


def _instead(label: str, labels: Sequence[str]) -> str:
    """The nearest of some labels, or what they are."""
    known = {name.lower(): name for name in labels}
    near = get_close_matches(label.lower(), known, 1)
    more = ", ..." if len(labels) > _SHOWN else ""
    return f"Did you mean {known[near[0]]!r}?" if near else f"Its labels: {', '.join(labels[:_SHOWN])}{more}."
