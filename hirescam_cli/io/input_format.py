"""What the registry holds about an input format, and what a format is shown of a file to recognise it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hirescam_cli.io.bytesource import GZIP_MAGIC
from hirescam_cli.io.gzipped import inflated_start
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.volume import Volume

if TYPE_CHECKING:
    from hirescam_cli.io.labelmaps import StoredValues

START_BYTES = 4096
_GZIP_BYTES = 16384


@dataclass(frozen=True)
class Head:
    """How a file begins: its first 4096 bytes, inflated where it is `gzipped`."""

    path: Path
    start: bytes
    gzipped: bool


def head_of(path: Path) -> Head:
    """The head of a file, from at most 16 KiB of it. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        start = file.read(START_BYTES)
        if start[:2] != GZIP_MAGIC:
            return Head(path, start, False)
        return Head(path, inflated_start(start + file.read(_GZIP_BYTES - START_BYTES), START_BYTES), True)


@dataclass(frozen=True)
class LeftOut:
    """Why a file of a folder is not a scan: `code` a slug, `reason` a sentence that lacks its subject."""

    code: str
    reason: str


def alone(path: Path) -> tuple[Path, ...]:
    """The files of a format whose scans are one file each."""
    return (path,)


@dataclass(frozen=True)
class InputFormat:
    """An input format: everything that is particular to it.

    `kind`: its name in records (`Scan.kind`, `Provenance.kind`); `title`: its name for people.
    `endings`: lower-case endings of names that promise this format, so that a damaged file is a failure and
    not passed over.
    `sniff(head)`: whether a file is of this format by its content; it must not read more than a header.
    `read(scan, options)`: the volume in HU (`values.to_hu` makes it so), or a ScanError.
    `files(path)`: all files of the scan that the file at `path` belongs to, the header's first.
    `left_out(files)`: why a file found in a folder is not a scan by its header (a file of another program);
    None if it is one.
    `values(files)`: its voxels as stored, piece by piece, a small one first, by which masks are told from scans;
    None where a format holds no masks.
    `grouped`: many files make one scan; then `discover` gives them to the DICOM grouping.
    """

    kind: str
    title: str
    endings: tuple[str, ...]
    sniff: Callable[[Head], bool]
    read: Callable[[Scan, ReadOptions], Volume]
    files: Callable[[Path], tuple[Path, ...]] = alone
    left_out: Callable[[tuple[Path, ...]], LeftOut | None] = lambda _files: None
    values: Callable[[tuple[Path, ...]], StoredValues] | None = None
    grouped: bool = False
