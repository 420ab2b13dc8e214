"""Reading a table of scans strictly: each refusal names file, line and column."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.train.layout import Layout
from hirescam_cli.train.path_template import NotWholeError
from hirescam_cli.train.table import SPLIT_WORDS, Row, Source, Split, Table

_TRUTH = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0, "": None}
_SHOWN = 3


def read_table(sources: Sequence[Source], labels: Sequence[str], layout: Layout) -> Table:
    """Read and check a table.

    Raises NoInputError for a file that is not there, UsageError for everything that is wrong in it: columns that
    miss, cells that cannot be read, an id twice, a patient or a file in two splits, no scans to train or validate on.
    """
    layout.check_labels(labels)
    patients = None if layout.patients is None else _patients(layout)
    rows: list[Row] = []
    known = True
    for source in sources:
        reader = _Reader(source, tuple(labels), layout, patients)
        rows += reader.rows()
        known = known and reader.knows_patients
    _check_ids(rows)
    _check_patients(rows)
    _check_files(rows)
    table = Table(tuple(labels), tuple(rows), known)
    for split in ("train", "valid"):
        if not any(row.split == split for row in rows):
            raise UsageError(
                f"No scan of the table belongs to {split}.",
                hint=f"Training needs both; name their column with --split-column, or give {split}=FILE.",
                code="table-split",
            )
    return table


@dataclass(frozen=True)
class _Line:
    number: int
    cells: list[str]


def _lines(path: Path) -> tuple[list[str], Iterator[_Line]]:
    """Header and lines of a CSV or TSV file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NoInputError(
            f"The table {path.name} cannot be read: {error.strerror}.", hint="Check the path.", code="table"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path.name} is not UTF-8 text.", hint="Give a CSV or TSV file.", code="table"
        ) from error
    if "\0" in text:
        raise _cell(path, text.count("\n", 0, text.index("\0")) + 1, None, "a NUL character", "text in UTF-8")
    rows = _rows(path, text)
    _, header = next(rows, ((1, 1), []))
    header = [name.strip() for name in header]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise _column(path, f"has two columns called {twice[0]!r}", header)

    def rest() -> Iterator[_Line]:
        for (first, last), cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                # Most often a quotation mark that was not closed.
                more = "" if first == last else f" up to line {last}"
                raise _cell(
                    path, first, None, f"{len(cells)} cells{more}", f"{len(header)}, as in the header"
                )
            yield _Line(last, [cell.strip() for cell in cells])

    return header, rest()


def _rows(path: Path, text: str) -> Iterator[tuple[tuple[int, int], list[str]]]:
    """Each row of cells with the numbers of its first and last line."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UsageError(
                f"{path.name}, line {first}: a row begins there that cannot be read: {error}.",
                hint='A quotation mark (") without its second swallows all that follows it: close it, or take it out.',
                code="table-cell",
            ) from error
        if cells is None:
            return
        yield (first, reader.line_num), cells


def _patients(layout: Layout) -> dict[str, str]:
    """Whose each scan is, by the table of patients, in which a scan may stand twice if it is the same patient's."""
    assert layout.patients is not None
    path = layout.patients
    header, lines = _lines(path)
    for name in (layout.id_column, layout.patient_column):
        if name not in header:
            raise _column(path, f"has no column {name!r}", header)
    scan, patient = header.index(layout.id_column), header.index(layout.patient_column)
    found: dict[str, tuple[str, int]] = {}
    for line in lines:
        name, first = found.setdefault(line.cells[scan], (line.cells[patient], line.number))
        if name != line.cells[patient]:
            told = f"{line.cells[scan]} is {line.cells[patient]!r}'s"
            raise _cell(path, line.number, layout.patient_column, told, f"{name!r}, as in line {first}")
    return {scan: name for scan, (name, _) in found.items()}


class _Reader:
    """Reads one file."""

    def __init__(
        self, source: Source, labels: tuple[str, ...], layout: Layout, patients: Mapping[str, str] | None
    ) -> None:
        self.path, self.split, self.labels, self.layout = source.path, source.split, labels, layout
        self.patients = patients
        self.header, self.lines = _lines(source.path)
        self.columns = [layout.columns_of(label, self.header) for label in labels]
        missing = [label for label, places in zip(labels, self.columns, strict=True) if not places]
        if missing:
            what = f"has no column for {len(missing)} of the model's {len(labels)} labels, the first is {missing[0]!r}"
            raise _column(self.path, what, self.header)
        wanted = [layout.id_column]
        wanted += [layout.path_column] if layout.path_template is None else []
        wanted += [layout.split_column] if self.split is None else []
        for name in wanted:
            if name not in self.header:
                raise _column(self.path, f"has no column {name!r}", self.header)
        self.has_patients = layout.patient_column in self.header
        self.knows_patients = self.has_patients or patients is not None or layout.names_patients

    def rows(self) -> list[Row]:
        """All rows of the file."""
        return [self._row(line) for line in self.lines]

    def _row(self, line: _Line) -> Row:
        layout = self.layout
        scan = self._text(line, layout.id_column)
        parts = layout.parts(scan)
        if parts is None:
            raise self.cell(line, layout.id_column, scan, f"an id that matches {layout.id_pattern}")
        split = self._split(line)
        path = self._path(line, {"split": split, **parts, "id": scan})
        root = layout.scans or self.path.parent
        return Row(scan, root / path, self._patient(line, scan, parts), split, self._truth(line), line.number)

    def _path(self, line: _Line, values: Mapping[str, str]) -> str:
        template = self.layout.template
        if template is None:
            return self._text(line, self.layout.path_column)
        try:
            return template.path(values)
        except NotWholeError as error:
            raise self.cell(line, self.layout.id_column, values["id"], str(error)) from error

    def _split(self, line: _Line) -> Split:
        if self.split is not None:
            return self.split
        word = self._text(line, self.layout.split_column)
        if word.lower() not in SPLIT_WORDS:
            raise self.cell(line, self.layout.split_column, word, "train, valid or test")
        return SPLIT_WORDS[word.lower()]

    def _patient(self, line: _Line, scan: str, parts: Mapping[str, str]) -> str:
        if self.patients is not None:
            patient = self.patients.get(scan, "")
            if not patient:
                assert self.layout.patients is not None
                raise self.cell(
                    line,
                    self.layout.id_column,
                    scan,
                    f"a scan whose patient {self.layout.patients.name} names",
                )
            return patient
        if self.has_patients:
            return self._text(line, self.layout.patient_column)
        return parts.get("patient") or scan

    def _truth(self, line: _Line) -> tuple[float | None, ...]:
        return tuple(self._any(line, places) for places in self.columns)

    def _any(self, line: _Line, places: Sequence[int]) -> float | None:
        """1 where one of the columns is; else unknown where one of them is; else 0."""
        values = []
        for place in places:
            text = line.cells[place]
            if text not in _TRUTH:
                raise self.cell(line, self.header[place], text, "0, 1 or nothing")
            values.append(_TRUTH[text])
        return 1.0 if 1.0 in values else None if None in values else 0.0

    def _text(self, line: _Line, column: str) -> str:
        text = line.cells[self.header.index(column)]
        if not text:
            raise self.cell(line, column, text, "something")
        return text

    def cell(self, line: _Line, column: str, found: str, expected: str) -> UsageError:
        """The refusal of a cell."""
        return _cell(self.path, line.number, column, repr(found), expected)


def _cell(path: Path, line: int, column: str | None, found: str, expected: str) -> UsageError:
    place = "" if column is None else f", column {column!r}"
    return UsageError(
        f"{path.name}, line {line}{place}: {found}, expected {expected}.",
        hint="Correct the table, or name other columns.",
        code="table-cell",
    )


def _column(path: Path, what: str, header: Sequence[str]) -> UsageError:
    shown = ", ".join(header[:12]) + (", ..." if len(header) > 12 else "")
    return UsageError(
        f"The table {path.name} {what}.",
        hint=f"Its columns: {shown}. See --id-column, --path-template, --label-columns, --or-locations.",
        code="table-column",
    )


def _check_ids(rows: Sequence[Row]) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        if row.id in seen:
            raise UsageError(
                f"The scan {row.id} stands in the table twice, in lines {seen[row.id]} and {row.line}.",
                hint="Leave one row for each scan.",
                code="table-id",
            )
        seen[row.id] = row.line


def _check_patients(rows: Sequence[Row]) -> None:
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.patient, set()).add(row.split)
    shared = [patient for patient, found in splits.items() if len(found) > 1]
    if not shared:
        return
    first = [row for row in rows if row.patient == shared[0]]
    scans = ", ".join(f"{row.id} ({row.split})" for row in first[:_SHOWN])
    raise UsageError(
        f"{len(shared)} patients have scans in more than one split; one of them has {scans}.",
        hint="Split by patient: a network that has seen a patient is not tested by another scan of the same.",
        code="table-patients",
    )


def _check_files(rows: Sequence[Row]) -> None:
    """Under two ids, and perhaps of two patients, a scan could stand in two splits."""
    seen: dict[str, Row] = {}
    for row in rows:
        first = seen.setdefault(os.path.realpath(row.path), row)
        if first.split != row.split:
            both = " and ".join(f"{one.id} ({one.split}, line {one.line})" for one in (first, row))
            raise UsageError(
                f"{both} are the same scan, {row.path.name}.",
                hint="Leave it in one split: a network is not tested by a scan that it has seen.",
                code="table-scans",
            )
