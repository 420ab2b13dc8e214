"""The table of scans, splits and labels as records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A table file; `split`: what all of its rows belong to, else a column says it."""

    path: Path
    split: Split | None = None

    @staticmethod
    def parse(text: str) -> Source:
        """From "FILE" or "train=FILE"."""
        word, separator, rest = text.partition("=")
        if separator and word in SPLIT_WORDS and not Path(text).exists():
            return Source(Path(rest), SPLIT_WORDS[word])
        return Source(Path(text))


@dataclass(frozen=True)
class Row:
    """A scan: `truth` a value a label, 0, 1 or None where nobody knows. `line`: of its file."""

    id: str
    path: Path
    patient: str
    split: Split
    truth: tuple[float | None, ...]
    line: int


@dataclass(frozen=True)
class Table:
    """All rows. `patients_known`: whether the table says whose scans they are, else each is somebody's own."""

    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    patients_known: bool

    def of(self, split: Split) -> tuple[Row, ...]:
        """The rows of a split, in the table's order."""
        return tuple(row for row in self.rows if row.split == split)

    def without(self, left_out: Collection[str]) -> Table:
        """The same without the scans of these ids."""
        return replace(self, rows=tuple(row for row in self.rows if row.id not in left_out))

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Per label and split how many scans are positive, negative and unknown."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for place, label in enumerate(self.labels):
            found[label] = {}
            for split in SPLITS:
                values = [row.truth[place] for row in self.of(split)]
                found[label][split] = {
                    "positive": values.count(1.0), "negative": values.count(0.0), "unknown": values.count(None),
                }  # fmt: skip
        return found

    @property
    def sha256(self) -> str:
        """Hash of all that it says but paths: of training and validation."""
        told = [[row.id, row.patient, row.split, row.truth] for row in self.rows if row.split != "test"]
        return hashlib.sha256(json.dumps([self.labels, sorted(told)]).encode()).hexdigest()


def truth_of(rows: Sequence[Row]) -> NDArray[np.float64]:
    """The truth [n, L] of some rows, NaN where unknown."""
    return np.array([[np.nan if v is None else v for v in row.truth] for row in rows], dtype=np.float64)
