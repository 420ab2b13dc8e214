"""What a table says of cases: which labels are there, whose they are, to which part of the data they belong."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.masks.names import assign

_IDS = ("id", "case")
_OTHERS = (*_IDS, "patient", "split", "path")
_WORDS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": None}


@dataclass(frozen=True)
class Table:
    """A CSV file by case: `rows` maps a case to its cells by column."""

    name: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]

    def cell(self, case: str, column: str) -> str | None:
        """A cell, stripped; None where case or column is missing, or nothing is written."""
        text = (self.rows.get(case, {}).get(column) or "").strip()
        return text or None


@dataclass(frozen=True)
class Truth:
    """What is known of cases. `present`: by case and label, unknown ones missing. `patient`, `split`: by case.

    `unused`: columns of the table of labels that are no label and nothing else either.
    """

    present: Mapping[str, Mapping[str, bool]]
    patient: Mapping[str, str]
    split: Mapping[str, str]
    unused: tuple[str, ...] = ()


def read_table(path: Path, cases: Sequence[str], option: str) -> Table:
    """The rows of a CSV file whose id (column "id" or "case") is a case's path, or else its last part.

    Raises NoInputError if there is no such file, UsageError where it cannot be understood or a row is ambiguous.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="")
            columns = tuple(reader.fieldnames or ())
            found = list(reader)
    except OSError as error:
        raise NoInputError(
            f"--{option}: {path.name} cannot be read: {error.strerror}.", hint="Correct the option."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _wrong(option, f"{path.name} is not a CSV file in UTF-8: {error}") from error
    twice = next((name for name, count in Counter(columns).items() if name.strip() and count > 1), None)
    if twice is not None:
        raise _wrong(option, f"{path.name} has two columns {twice!r}")
    key = next((name for name in _IDS if name in columns), None)
    if key is None:
        raise _wrong(option, f"{path.name} has no column id (or case)")
    whole = set(cases)
    by_stem: dict[str, list[str]] = {}
    for case in cases:
        by_stem.setdefault(PurePosixPath(case).name, []).append(case)
    rows: dict[str, Mapping[str, str]] = {}
    for row in found:
        name = (row[key] or "").strip()
        meant = [name] if name in whole else by_stem.get(name, [])
        if len(meant) > 1:
            raise _wrong(option, f"{path.name}: {name!r} could be {meant[0]} and {meant[1]}")
        for case in meant:
            if case in rows:
                raise _wrong(option, f"{path.name} has two rows for {case}")
            rows[case] = row
    if not rows:
        raise _wrong(option, f"{path.name} has no row for any case")
    return Table(path.name, columns, rows)


def read_truth(
    truth: Path | None,
    group: str | None,
    cases: Sequence[str],
    labels: Sequence[str],
    every: Sequence[str] | None = None,
) -> Truth:
    """Everything that tables say of the cases. The patient is that of `group` ("FILE:COLUMN"), else the column
    "patient" of the table of labels, else the case itself.

    `every`: all labels of the cases, of which `labels` are asked (None: all). Raises NoInputError or UsageError.
    """
    table = read_table(truth, cases, "truth") if truth else None
    columns = _label_columns(table, labels if every is None else every) if table else {}
    present: dict[str, dict[str, bool]] = {}
    for case in table.rows if table else ():
        present[case] = {}
        for label in labels:
            value = _flag(table, case, columns[label]) if label in columns else None
            if value is not None:
                present[case][label] = value
    if table and columns.keys().isdisjoint(labels):
        raise _wrong("truth", f"{table.name} has no column named as one of the labels")
    split = {case: table.cell(case, "split") for case in cases} if table else {}
    return Truth(
        present,
        _patients(group, table, cases),
        {case: name for case, name in split.items() if name is not None},
        _unused(table, columns, group) if table else (),
    )


def _label_columns(table: Table, labels: Sequence[str]) -> dict[str, str]:
    """By label its column, called as masks are: exactly so, or by the same words. Raises UsageError."""
    found = assign([name for name in table.columns if name not in _OTHERS], labels)
    for columns in found.doubtful.values():
        of = " and ".join(each for each, theirs in found.doubtful.items() if theirs == columns)
        raise _wrong("truth", f"{table.name}: {' and '.join(map(repr, columns))} could be of {of}")
    return dict(found.masks)


def _unused(table: Table, columns: Mapping[str, str], group: str | None) -> tuple[str, ...]:
    known = {*_OTHERS, *columns.values(), (group or "").rpartition(":")[2]}
    return tuple(name for name in table.columns if name.strip() and name not in known)


def _flag(table: Table | None, case: str, label: str) -> bool | None:
    assert table is not None
    text = (table.cell(case, label) or "").lower()
    if text not in _WORDS:
        raise _wrong("truth", f"{table.name}: {label} of {case} is {text!r}, expected 0, 1 or nothing")
    return _WORDS[text]


def _patients(group: str | None, table: Table | None, cases: Sequence[str]) -> dict[str, str]:
    column = "patient"
    if group is not None:
        name, _, column = group.rpartition(":")
        if not name or not column:
            raise _wrong("group", f"{group!r} is not FILE:COLUMN")
        table = read_table(Path(name), cases, "group")
        if column not in table.columns:
            raise _wrong("group", f"{table.name} has no column {column}")
    if table is None:
        return {case: case for case in cases}
    return {case: table.cell(case, column) or case for case in cases}


def _wrong(option: str, what: str) -> UsageError:
    return UsageError(f"--{option}: {what}.", hint="Correct the table or the option.", code="truth")
